"""How a run's story is shown to people: in words, a line each, and cut to the screen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from aiki import State
from aiki.client.children import ChildNote
from aiki.client.history import HistoryEntry
from aiki_cli.view.plain import to_object
from aiki_cli.view.story import table
from aiki_cli.view.text import to_json

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAILURE = {"type": "TimeoutError", "message": "no answer", "traceback": "Traceback ..."}
RESULT = HistoryEntry(at=AT, move="entry", key="task:charge:5f3a09c1:1", ok=True, value={"receipt": "r" * 500})

CAME = HistoryEntry(at=AT, move="entry", key="event:approved:5f3a09c1:1", ok=True)
CHILD = HistoryEntry(at=AT, move="entry", key="starts:1", ok=True, value=[])
RETRY = HistoryEntry(at=AT, move="entry", key="retry:2", ok=True)
STARTED = ChildNote("started", "pay", "0199-1")


def drawn(entry: HistoryEntry, *, width: int = 100) -> str:
    file = StringIO()
    Console(width=width, file=file).print(table([entry]))
    _, _, line = file.getvalue().rstrip().split("\n")
    return " ".join(line.split())


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (HistoryEntry(at=AT, move="claim", state=State.RUNNING, actor="w-1"), "claim ● running by w-1"),
        (replace(RESULT, value="ok"), 'task charge → "ok"'),
        (
            replace(RESULT, value="ok", arguments={"id": "o-1", "cents": 5}, started_at=AT - timedelta(seconds=2)),
            '2.0 s task charge(id="o-1", cents=5) → "ok"',
        ),
        (replace(RESULT, value="ok", worker="w-2"), 'task charge → "ok" on w-2'),
        (
            replace(RESULT, value="ok", arguments='{"text":"' + "é" * 200 + "…"),
            'task charge({"text":"' + "é" * 30 + '…) → "ok"',
        ),
        (replace(CHILD, children=(STARTED,), arguments={"n": 1}), "child pay 0199-1 (n=1)"),
        (replace(CHILD, children=(STARTED,) * 2, arguments=[{"n": 1}, {"n": 2}]), "child pay 0199-1, pay 0199-1"),
        (HistoryEntry(at=AT, move="entry", key="send:told:5f:1", ok=True, arguments="hi"), "entry send:told:5f:1(hi)"),
        (replace(RESULT, ok=False, value=FAILURE), "task failed charge ✗ TimeoutError: no answer"),
        (HistoryEntry(at=AT, move="entry", key="timer:630", ok=True), "timer 10m 30s"),
        (
            HistoryEntry(
                at=AT, move="entry", key="labels:a|b:0:1", ok=True, value={"stage": [None, "x"], "team": ["a", None]}
            ),
            "labels stage=x, no team",
        ),
        (
            HistoryEntry(at=AT, move="continue", state=State.QUEUED, generation=999),
            "continue ○ queued generation 1,000 begins",
        ),
        (replace(RETRY, value={"attempt": 2, "cut": 1, "key": RESULT.key}), "retry attempt 2 begins with charge"),
        (replace(RETRY, value={"attempt": 1_000, "cut": 1}), "retry attempt 1,000 begins"),
        (replace(RETRY, value={"attempt": "x"}), 'entry retry:2 → {"attempt":"x"}'),
        (
            HistoryEntry(at=AT, move="again", state=State.RETRYING, reason="attempt 1 failed: E: no"),
            "again ↻ retrying attempt 1 failed: E: no",
        ),
        (replace(CHILD, children=(STARTED,)), "child pay 0199-1"),
        (replace(CHILD, children=(STARTED,) * 5), "child pay 0199-1, pay 0199-1, pay 0199-1, and 2 more"),
        (replace(CHILD, children=(replace(STARTED, what="found"),)), "child found pay 0199-1"),
        (
            replace(CHILD, children=(replace(STARTED, what="ended", state=State.FAILED),)),
            "child ended pay 0199-1 ✗ failed",
        ),
        (
            replace(
                CHILD,
                children=(
                    ChildNote("ended", state=State.COMPLETED, count=4_999),
                    ChildNote("ended", state=State.FAILED),
                ),
            ),
            "child ended 4,999 completed, 1 failed",
        ),
        (
            HistoryEntry(
                at=AT,
                move="attempt",
                key="task:charge@o-1",
                value=FAILURE,
                attempt=2,
                due_at=AT + timedelta(seconds=1.5),
            ),
            "attempt 2 charge ✗ TimeoutError: no answer (again after 1.5 s)",
        ),
        (HistoryEntry(at=AT, move="entry", key="patch:new-tax", ok=True, value=True), "entry patch:new-tax → true"),
        (replace(CAME, value=[["approved", 1, "alice"]]), 'event approved → "alice"'),
        (replace(CAME, value=[["voted", 1, {"n": 1}], ["voted", 2, {"n": 2}]]), 'event approved → {"n":1}, {"n":2}'),
        (replace(CAME, value=[["ping", 1, None]]), "event approved"),
        (replace(CAME, ok=False), "no event approved"),
        (HistoryEntry(at=AT, move="event", key="event:approved", value="alice"), 'unread event approved → "alice"'),
    ],
)
def test_a_line_names_the_task_or_the_timers_length(entry, said):
    assert drawn(entry).partition(" ")[2] == said


def test_a_line_is_cut_where_the_screen_ends_and_json_is_complete():
    line = drawn(RESULT, width=70)
    assert 'task charge → {"receipt":"rrr' in line
    assert line.endswith("…")
    assert "5f3a09c1" not in line
    assert to_object(RESULT)["value"] == {"receipt": "r" * 500}
    assert to_object(RESULT)["key"] == "task:charge:5f3a09c1:1"


def test_whose_an_outcome_is_is_said_where_the_last_claim_does_not():
    file = StringIO()
    claim = HistoryEntry(at=AT, move="claim", state=State.RUNNING, actor="w-1")
    lines = [replace(RESULT, value=1, worker="w-0"), claim, replace(RESULT, value=2, worker="w-1")]
    Console(width=100, file=file).print(table(lines))
    first, _, last = file.getvalue().rstrip().split("\n")[2:]
    assert (first.split("→ ")[1].strip(), last.split("→ ")[1].strip()) == ("1  on w-0", "2")


def test_json_has_when_it_began_how_long_it_took_where_and_with_what():
    entry = replace(RESULT, started_at=AT - timedelta(seconds=1.5), worker="w-1", arguments={"n": 1})
    found = json.loads(to_json(entry))
    assert (found["started_at"], found["seconds"]) == ("2026-01-02T03:04:03.500000Z", 1.5)
    assert (found["worker"], found["arguments"]) == ("w-1", {"n": 1})
    assert json.loads(to_json(RESULT))["seconds"] is None
