"""The checker itself: each kind of violation, planted, must be found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aiki.core.states import State
from tests.chaos.ledger import Effect
from tests.chaos.promises import Evidence, Expected, HistoryRow, JournalRow, RunRow, violations

RUN = "r1"
KEY = "task:effect:0:1"


def history(*rows: tuple[int, str, str | None]) -> list[HistoryRow]:
    return [HistoryRow(RUN, event, actor, None, at) for at, event, actor in rows]


def start(at: int, worker: str, *, event: str = "start") -> Effect:
    return Effect(at, event, RUN, KEY, 1, worker)


GOOD = Evidence(
    runs=[RunRow(RUN, "flow", "completed", "k", 1)],
    # w1 dies inside the task, w2 takes over, records it and completes.
    history=history(
        (0, "enqueued", None), (10, "claim", "w1"), (30, "rescue", None), (40, "claim", "w2"), (60, "complete", None)
    ),
    journal=[JournalRow(RUN, KEY, "w2", 50)],
    effects=[start(20, "w1"), start(45, "w2"), start(48, "w2", event="end")],
)
EXPECTED = Expected(results={RUN: 1}, keys={"k": {RUN}})


def test_a_good_story_holds() -> None:
    assert violations(GOOD, EXPECTED) == []


@pytest.mark.parametrize(
    ("promise", "planted"),
    [
        ("P1", {"runs": [], "history": [], "journal": [], "effects": []}),
        ("P1", {"runs": [RunRow(RUN, "flow", "queued", "k", 1)]}),
        # A claim after the result's commit starts the task again.
        ("P2", {"journal": [JournalRow(RUN, KEY, "w1", 25)]}),
        ("P2", {"effects": [start(45, "w3")]}),
        # The first worker begins it once more, by its old claim.
        ("P2", {"effects": [*GOOD.effects, start(55, "w1")]}),
        # It begins twice under one claim, and again after a claim that was given back in good order.
        ("P3", {"effects": [start(45, "w2"), start(46, "w2")]}),
        ("P3", {"history": [replace(row, event="release") if row.event == "rescue" else row for row in GOOD.history]}),
        ("P4", {"runs": [RunRow(RUN, "flow", "completed", "k", 2)]}),
        ("P4", {"history": [*GOOD.history, HistoryRow(RUN, "fail", None, None, 70)]}),
        ("P5", {"runs": [*GOOD.runs, RunRow("r2", "flow", "completed", "k", 1)]}),
        # A zombie's write: while the other holds the run, and after the end.
        ("P7", {"journal": [JournalRow(RUN, KEY, "w1", 50)]}),
        ("P7", {"journal": [JournalRow(RUN, KEY, "w1", 65)]}),
        ("P7", {"journal": [JournalRow(RUN, KEY, None, 35)]}),
    ],
)
def test_a_planted_violation_is_found(promise: str, planted: dict[str, Any]) -> None:
    found = violations(replace(GOOD, **planted), EXPECTED)
    assert any(line.startswith(promise) for line in found), found


def test_more_runs_at_once_than_a_worker_has_slots_are_found() -> None:
    other = "r2"
    evidence = replace(
        GOOD,
        runs=[*GOOD.runs, RunRow(other, "flow", "completed", None, 1)],
        history=[
            *GOOD.history,
            HistoryRow(other, "claim", "w2", None, 40),
            HistoryRow(other, "complete", None, None, 60),
        ],
        effects=[*GOOD.effects, Effect(46, "start", other, KEY, 1, "w2"), Effect(47, "cut", other, KEY, 1, "w2")],
    )
    results = {RUN: 1, other: 1}
    assert violations(evidence, Expected(results, {"k": {RUN}}, slots={"w1": 1, "w2": 2})) == []
    found = violations(evidence, Expected(results, {"k": {RUN}}, slots={"w1": 1, "w2": 1}))
    assert [line.partition(" ")[0] for line in found] == ["slots"]


def test_two_ids_for_one_key_are_found() -> None:
    found = violations(GOOD, Expected(results={RUN: 1}, keys={"k": {RUN, "r2"}}))
    assert [line[:2] for line in found] == ["P5"]


def test_a_run_that_ended_otherwise_than_it_was_told_to_is_found() -> None:
    found = violations(GOOD, Expected(keys={"k": {RUN}}, ends={RUN: State.CANCELLED}))
    assert [line[:2] for line in found] == ["P4"]


def test_a_try_that_failed_may_be_repeated() -> None:
    again = [start(44, "w2"), start(45, "w2", event="error"), start(46, "w2")]
    assert violations(replace(GOOD, effects=again), EXPECTED) == []
