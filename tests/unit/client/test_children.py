"""What the lines of a story say of children: an end leads back to its start, and what nobody can read says nothing."""

from __future__ import annotations

import pytest
from msgspec import Raw

from aiki.client.children import ChildNote, Children
from aiki.core.states import State
from aiki.wire.messages import NONE, HistoryItem

STARTS = b'[["start:pay:5f3a:1","0199-1",0],["start:ship:5f3a:1","0199-2",1]]'


def entry(key: str | None, value: bytes) -> HistoryItem:
    return HistoryItem(1, "entry", key=key, ok=True, value=Raw(value))


def test_children_are_named_where_they_start_and_where_they_end() -> None:
    children = Children()
    assert children.note(entry("starts:2", STARTS)) == (
        ChildNote("started", "pay", "0199-1"),
        ChildNote("started", "ship", "0199-2"),
    )
    assert children.note(entry("end:ship:5f3a:1", b'"failed"')) == (ChildNote("ended", "ship", "0199-2", State.FAILED),)
    assert children.note(entry("end:ship:9999:1", b'"failed"')) == (ChildNote("ended", "ship", None, State.FAILED),)
    assert children.note(entry("stop:pay:5f3a:1", b'{"result":"taken"}')) == (ChildNote("cancelled", "pay"),)


@pytest.mark.parametrize(
    ("result", "what"),
    [("started", "started"), ("existing", "found"), ("conflict", "refused"), ("circle", "refused")],
)
def test_a_child_with_a_key_is_started_found_or_refused(result: str, what: str) -> None:
    children = Children()
    (note,) = children.note(entry("start:pay@o:1", f'{{"result":"{result}","run_id":"0199-7"}}'.encode()))
    assert (note.what, note.workflow, note.run_id) == (what, "pay", "0199-7")
    (ended,) = children.note(entry("end:pay@o:1", b'"completed"'))
    assert ended.run_id == "0199-7"


def test_of_many_it_is_told_how_many_have_ended_how() -> None:
    assert Children().note(entry("all:5f3a:1", b'{"failed":1,"completed":4999}')) == (
        ChildNote("ended", state=State.COMPLETED, count=4999),
        ChildNote("ended", state=State.FAILED, count=1),
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"1"),
        ("task:pay:0:1", b"1"),
        ("nonsense", b"1"),
        ("starts:2", b'{"a":1}'),
        ("end:pay:0:1", b'"exploded"'),
        ("start:pay@o", b"null"),
        ("all:0:1", b"\xff"),
    ],
)
def test_what_is_not_about_children_or_cannot_be_read_says_nothing(key: str | None, value: bytes) -> None:
    assert Children().note(entry(key, value)) == ()


def test_a_line_whose_value_was_left_out_says_nothing() -> None:
    assert Children().note(HistoryItem(1, "entry", key="starts:2", ok=True, value=NONE)) == ()
