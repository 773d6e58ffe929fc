"""What is told of code that no longer fits its journal, before it starts anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from aiki.core import keys
from aiki.core.states import Move, State
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution.divergence import explain
from aiki.execution.journal import Journal
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import NULL, Entry
from tests.unit.execution.replays import again, calls, double, output, run, slow


def diff_between(old: Workflow[Any, Any], new: Workflow[Any, Any]) -> str:
    world = run(old)
    calls.clear()
    end = again(world, new).end
    assert end is not None
    assert end.move is Move.DIVERGE
    assert calls == [], "a task was started before the divergence was told"
    return end.why or ""


@workflow(name="old", version="1")
async def old(run: WorkflowRun) -> int:
    return await double.run(run, 1) + await double.run(run, 20)


def test_a_changed_input_is_told_with_what_was_recorded_and_what_is_asked() -> None:
    @workflow(name="old", version="1")
    async def changed(run: WorkflowRun) -> int:
        return await double.run(run, 1) + await double.run(run, 21)

    why = diff_between(old, changed)
    assert "entry 2: task double" in why
    assert "returned 40" in why
    assert "+ task double" in why
    assert '{"number":21}' in why
    assert "the input of double has changed" in why
    assert "test_divergence.py" in why


@pytest.mark.parametrize("varies", [True, False])
def test_a_worker_whose_hash_seed_is_not_fixed_names_it_as_a_likely_cause(varies: bool) -> None:
    why = explain("it waits", Journal([]), [], [], hash_seed_varies=varies)
    assert ("Start all workers with PYTHONHASHSEED=0" in why) is varies


def test_entries_of_all_kinds_are_told_and_those_of_no_kind_by_their_keys() -> None:
    recorded = [
        Entry("task:charge:5f3a09c1:2", True, Raw(b"40"), 0),
        Entry("task:ship@order:1", False, Raw(b'"broken"'), 0),
        Entry(keys.timer(1_500_000), True, NULL, 0),
        Entry(keys.until(-7), True, NULL, 0),
        Entry("patch:new:tax", True, NULL, 0),
        Entry("of no kind", True, NULL, 0),
        Entry("task:long@k", True, Raw(b'"' + b"x" * 200 + b'"'), 0),
        Entry("event:approved|rejected:5f3a09c1:1", True, Raw(b'[["approved",5,"yes"]]'), 0, takes=(1,)),
        Entry("event:voted:5f3a09c1:2", False, NULL, 0),
        Entry("send:approved:5f3a09c1:2", False, Raw(b'{"result":"full"}'), 0, takes=(3,)),
    ]
    assert explain("it waits", Journal(recorded), [], ["here"], hash_seed_varies=False).splitlines()[1:] == [
        "recorded, but not asked for:",
        "  - entry 1: task charge [task:charge:5f3a09c1:2] returned 40",
        '  - entry 2: task ship [task:ship@order:1] failed: "broken"',
        "  - entry 3: a timer of 1.5 s",
        "  - entry 4: a timer until -7 µs",
        "  - entry 5: patched('new:tax')",
        "  - entry 6: of no kind",
        f'  - entry 7: task long [task:long@k] returned "{"x" * 119}…',
        '  - entry 8: event approved|rejected [event:approved|rejected:5f3a09c1:1] came [["approved",5,"yes"]]',
        "  - entry 9: event voted [event:voted:5f3a09c1:2] did not come in time",
        '  - entry 10: send of event approved [send:approved:5f3a09c1:2] was not taken: {"result":"full"}',
        "asked for, but not recorded:",
        "  (nothing)",
        "the body stands at:",
        "    here",
        "a recorded call was removed, or another one was put in front of it: restore it, or guard the change with"
        " `if run.patched(...)`, then resume the run",
    ]


def test_waits_and_sends_that_are_not_recorded_are_told() -> None:
    approved, target = Event("approved", type=str), "0190b0a0-0000-7000-8000-000000000009"

    @workflow(name="old", version="1")
    async def others(run: WorkflowRun) -> None:
        await asyncio.gather(run.wait_any(approved, Event("rejected")), run.send(target, approved, "yes"))

    why = diff_between(old, others)
    assert "+ event approved|rejected [event:approved|rejected:" in why
    assert "+ send of event approved [send:approved:" in why
    assert f'with ["{target}","yes",null]' in why


def test_a_removed_call_is_told_when_the_body_ends_early() -> None:
    @workflow(name="old", version="1")
    async def shorter(run: WorkflowRun) -> int:
        return await double.run(run, 1)

    assert "ended with 1 recorded outcomes left" in diff_between(old, shorter)


def test_calls_after_the_recorded_ones_may_change() -> None:
    @workflow(name="old", version="1")
    async def longer(run: WorkflowRun) -> int:
        total = await double.run(run, 20) + await double.run(run, 1)
        return total + await double.run(run, 5)

    assert output(again(run(old), longer)) == "52"


def test_a_body_that_goes_round_instead_of_asking_has_diverged() -> None:
    @workflow(name="old", version="1")
    async def spins(run: WorkflowRun) -> None:
        asked = asyncio.create_task(slow.run(run, 1))
        while not asked.done():  # noqa: ASYNC110 - it is what this test is about
            await asyncio.sleep(0)

    @workflow(name="old", version="1")
    async def spins_for_ever(run: WorkflowRun) -> None:
        while True:  # noqa: ASYNC110 - the mistake this test is about
            await asyncio.sleep(0)

    world = run(spins)
    assert world.journal[0].turns is not None
    assert again(world).state is State.COMPLETED
    assert "goes round" in diff_between(spins, spins_for_ever)
