"""What a unit may start and cancel, what becomes of that, and who waits for whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Raw

from aiki.core.errors import PayloadError
from aiki.core.states import TERMINAL, State
from aiki.rules.enqueueing import Stored
from aiki.rules.families import check, child, is_too_deep, meet, stopped, waiting_for
from aiki.wire.limits import FAMILY_DEPTH, MESSAGE_BYTES, PAYLOAD_BYTES
from aiki.wire.messages import Fence, FirstEvent, RunOptions, SendOp, StartOp, StopOp, Unit

RUN, ID, OTHER = (f"01890a5d-ac96-774b-bcce-b30209{number:06d}" for number in range(3))
OF_VERSION_4 = "3f0c1a52-9d7b-4d0e-8b1e-6f2f6c1d2e3a"
OF_AN_ANSWER = f"{ID[:14]}8{ID[15:]}"
OF_AN_END = f"{ID[:14]}9{ID[15:]}"
DIGEST = "a" * 32


def start(id: str = ID, **fields: Any) -> StartOp:
    options = RunOptions(**{name: fields.pop(name) for name in RunOptions.__struct_fields__ if name in fields})
    return StartOp(**{"id": id, "workflow": "flow", "version": "1.0", "input": Raw(b"{}")} | fields, options=options)


def unit(*starts: StartOp, **fields: Any) -> Unit:
    return Unit(Fence(RUN, 1, "claim-1"), 0, [], [], starts=list(starts), **fields)


@pytest.mark.parametrize(
    "one",
    [
        unit(start("1")),
        unit(start(OF_VERSION_4)),
        unit(start(OF_AN_ANSWER)),
        unit(start(OF_AN_END)),
        unit(start(ID.upper())),
        unit(start(RUN)),
        unit(start(), start()),
        unit(start(), ops=[SendOp(ID, OTHER, "approved")]),
        unit(start(), stops=[StopOp(ID, OTHER)]),
        unit(stops=[StopOp(ID, OTHER), StopOp(ID, RUN)]),
        unit(start(workflow="a b")),
        unit(start(version="")),
        unit(start(input=Raw(b"["))),
        unit(start(input=Raw(b'"%s"' % (b"x" * PAYLOAD_BYTES)))),
        unit(start(key="k")),
        unit(start(key="k", digest="A" * 32)),
        unit(start(key="\0", digest=DIGEST)),
        unit(start(priority=101)),
        unit(start(delay=-1)),
        unit(start(delay=1, start_at=1)),
        unit(start(timeout=0)),
        unit(start(labels={"a b": "c"})),
        unit(start(send=FirstEvent("approved"))),
        unit(stops=[StopOp("1", ID)]),
        unit(stops=[StopOp(OF_VERSION_4, ID)]),
        unit(stops=[StopOp(ID, "1")]),
        unit(stops=[StopOp(ID, OTHER, "\0")]),
    ],
    ids=lambda one: repr(one)[60:160],
)
def test_what_cannot_be_started_or_cancelled_is_refused(one: Unit) -> None:
    with pytest.raises(PayloadError):
        check(one, room=MESSAGE_BYTES)


def test_what_is_in_order_is_taken() -> None:
    options: dict[str, Any] = {
        "key": "k",
        "digest": DIGEST,
        "priority": -100,
        "labels": {"a": "b"},
        "delay": 1,
        "timeout": 1,
    }
    check(unit(start(**options), stops=[StopOp(OTHER, ID, "enough")]), room=MESSAGE_BYTES)


def test_a_child_has_its_parents_priority_if_nothing_else_is_said() -> None:
    assert child(start(), priority=7).options.priority == 7
    assert child(start(priority=0), priority=7).options.priority == 0
    assert child(start(), priority=0).options.priority is None


def test_a_family_has_a_hundred_levels_below_its_root() -> None:
    assert [is_too_deep(depth) for depth in (0, FAMILY_DEPTH - 1, FAMILY_DEPTH)] == [False, False, True]


def holder(digest: str = DIGEST) -> Stored:
    return Stored(OTHER, "default", "flow", "1.0", "k", digest, b"", state=State.COMPLETED)


@pytest.mark.parametrize(
    ("digest", "on_conflict", "waiting", "result"),
    [
        (DIGEST, "error", set(), "existing"),
        ("b" * 32, "error", set(), "conflict"),
        ("b" * 32, "existing", set(), "existing"),
        (DIGEST, "error", {OTHER}, "circle"),
        ("b" * 32, "error", {OTHER}, "conflict"),
    ],
)
def test_a_start_whose_key_is_held_finds_that_run_or_says_why_not(
    digest: str, on_conflict: str, waiting: set[str], result: str
) -> None:
    run = child(start(key="k", digest=digest, on_conflict=on_conflict), priority=0)
    started = meet(run, holder(), waiting)
    assert (started.result, started.run_id, started.message is None) == (result, OTHER, result == "existing")


@pytest.mark.parametrize(
    ("waiting", "attached", "found"),
    [
        ({}, [], "a"),
        ({"a": {"a", "b"}}, [], "ab"),
        ({"c": {"c", "d"}}, [("c", "a")], "acd"),
        ({}, [("c", "b"), ("b", "a")], "abc"),
        ({}, [("a", "b"), ("c", "d")], "a"),
    ],
)
def test_who_waits_for_a_run_is_found_through_all_who_wait_for_these(
    waiting: Mapping[str, set[str]], attached: list[tuple[str, str]], found: str
) -> None:
    assert waiting_for("a", waiting, attached) == set(found)


@pytest.mark.parametrize("state", [None, *State])
@pytest.mark.parametrize("is_owned", [False, True])
def test_a_run_cancels_only_children_of_its_own_that_have_not_ended(state: State | None, *, is_owned: bool) -> None:
    result = stopped(state, is_owned=is_owned).result
    if state is None:
        assert result == "unknown"
    elif state in TERMINAL:
        assert result == "ended"
    else:
        assert result == ("taken" if is_owned else "refused")
