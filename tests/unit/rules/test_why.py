"""Which reasons follow from what is on record of a run, and from what its worker says."""

from __future__ import annotations

from typing import Any

import pytest

from aiki.core.reasons import Kind
from aiki.core.states import Move, State
from aiki.rules.why import Facts, Hold, Kin, Looked, Told, Tried, reasons
from aiki.wire.messages import RunStatus, TaskProgress

NOW = 1_767_225_600_000_000
RUN = RunStatus("id", "order", "1", State.RUNNING, 0)
HOLD = Hold("w-1", "session", NOW + 29_000_000, 30_000_000)


def running(**facts: Any) -> Facts:
    given: dict[str, Any] = {
        "now": NOW,
        "run": RUN,
        "last": Told(NOW, Move.CLAIM),
        "claimed": Told(NOW - 5, Move.CLAIM, None, "w-1"),
    }
    return Facts(**({"hold": HOLD} | given | facts))


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (running(), Kind.RUNNING),
        (running(looked=Looked(calls=["event:approved|no:0123:1"])), Kind.EVENT),
        (running(looked=Looked(calls=["timer:3600"], wakes_at=NOW + 1)), Kind.SLEEPING),
        (running(looked=Looked(calls=["send:approved:0123:1"])), Kind.LINGERING),
        (running(looked=Looked(calls=["end:leaf:0123:1"])), Kind.LINGERING),
        (running(looked=Looked(calls=["all:0123:1"]), kin=Kin(2, 3, oldest=("c", "leaf", State.RUNNING))), Kind.CHILD),
        (running(looked=Looked(calls=["task:a:0:1"], held_back="its worker drains")), Kind.RUNNING),
        (running(looked=Looked([Tried("copy", 1, NOW - 9)], 3, ["task:copy:0:1"])), Kind.TASK),
        (running(said=[TaskProgress("task:copy:0:1", 1, 0.4, "May", NOW - 9)]), Kind.TASK),
        (running(hold=None), Kind.FROZEN),
        (running(hold=HOLD._replace(expires_at=NOW + 9_000_000)), Kind.FROZEN),
    ],
)
def test_a_running_run_does_what_its_worker_says_or_what_is_on_record(facts: Facts, kind: Kind) -> None:
    (reason,) = reasons(facts)
    assert reason.kind == kind
    assert reason.worker == "w-1"


def test_a_worker_that_did_not_answer_is_told_of_and_one_that_was_not_asked_is_not() -> None:
    assert [one.kind for one in reasons(running(was_asked=True))] == [Kind.RUNNING, Kind.UNKNOWN]
    assert [one.kind for one in reasons(running())] == [Kind.RUNNING]


def test_events_of_one_wait_are_named_each() -> None:
    (reason,) = reasons(running(looked=Looked(calls=["event:approved|no:0123:1"], lingers_since=NOW - 3)))
    assert (reason.names, reason.since) == (["approved", "no"], NOW - 3)


def test_all_tries_count_of_which_only_the_first_are_told() -> None:
    (reason,) = reasons(running(looked=Looked([Tried("copy", 1, NOW - 9)], 300)))
    assert (reason.task, reason.count) == ("copy", 300)
