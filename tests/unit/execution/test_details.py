"""What a run shows of itself: the last word stands, travels with what comes about, and is not said again on replay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from aiki.core.errors import PayloadError, UsageError
from aiki.core.keys import DETAILS
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.codec import decoder
from aiki.wire.messages import Recorded, Said, Unit
from tests.unit.execution.replays import again, calls, double, error_of, output, run, slow
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


def shown(world: World) -> Any:
    """Return what people see of the run, as the daemon keeps it."""
    rows = [row for row in world.attempts if row.key == DETAILS]
    return decoder(Said).decode(rows[-1].details).details if rows else None


def said(world: World) -> list[bytes]:
    """Return what was written of it, in order."""
    rows = [row for unit in world.units for row in unit.attempts if row.key == DETAILS]
    return [bytes(decoder(Said).decode(row.details).details) for row in rows]


@workflow(version="1")
async def counts(run: WorkflowRun) -> int:
    total = 0
    for number in range(3):
        run.set_details({"asked": number})
        total += await double.run(run, number)
        run.set_details({"done": number})
    return total


def test_the_last_word_of_each_step_travels_with_what_comes_about_in_it_and_the_last_of_all_with_the_end() -> None:
    world = run(counts)
    assert said(world) == [b'{"asked":0}', b'{"asked":1}', b'{"asked":2}', b'{"done":2}']
    assert [len(unit.entries) for unit in world.units] == [0, 1, 1, 1]
    assert world.units[-1].end is not None


def test_a_replay_says_nothing_again() -> None:
    world = run(counts)
    replayed = again(world)
    assert output(replayed) == output(world)
    assert said(replayed) == []


def test_a_body_that_repeats_its_word_says_it_once() -> None:
    @workflow(version="1")
    async def insists(run: WorkflowRun) -> None:
        for number in range(3):
            run.set_details("busy")
            await double.run(run, number)

    assert said(run(insists)) == [b'"busy"']


def test_a_task_does_not_wait_for_the_word_before_it() -> None:
    @workflow(version="1")
    async def begins(run: WorkflowRun) -> None:
        run.set_details("begins")
        await slow.run(run, 1)

    async def main() -> None:
        world = World(begins, latency=(2.0,))
        calls.clear()
        world.claim()
        await asyncio.sleep(1)
        assert calls == ["slow 1"]
        assert shown(world) is None
        await asyncio.sleep(2)
        assert shown(world) == Raw(b'"begins"')

    simulate(main())


@pytest.mark.parametrize("seed", range(6))
def test_what_a_crash_has_cut_off_is_said_by_the_next_claim_and_what_is_on_record_is_not(seed: int) -> None:
    @workflow(version="1")
    async def waits(run: WorkflowRun) -> None:
        run.set_details({"step": 1})
        await double.run(run, 1)
        run.set_details({"step": 2})
        await slow.run(run, 1)

    async def main() -> None:
        world = World(waits, seed=seed, latency=(0.5,))
        world.claim()
        await asyncio.sleep(0.25 + seed / 4)
        world.crash()
        world.skew = -60_000_000  # a worker whose clock is behind the one before
        world.claim()
        await asyncio.sleep(3)
        assert shown(world) == Raw(b'{"step":2}')
        written = len(said(world))
        world.crash()
        world.claim()
        await asyncio.sleep(3)
        assert len(said(world)) == written
        assert (await world.finish()).move is Move.COMPLETE

    simulate(main())


def test_what_was_shown_is_taken_back_by_none() -> None:
    @workflow(version="1")
    async def shy(run: WorkflowRun) -> None:
        run.set_details([1])
        await double.run(run, 1)
        run.set_details(None)

    world = run(shy)
    assert said(world) == [b"[1]", b"null"]


def test_code_that_has_diverged_shows_nothing() -> None:
    @workflow(name="counts", version="1")
    async def other(run: WorkflowRun) -> int:
        run.set_details("other")
        return await slow.run(run, 7)

    replayed = again(run(counts), other)
    assert replayed.end is not None
    assert replayed.end.move is Move.DIVERGE
    assert said(replayed) == []


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ("x" * 16_384, "the run's details have 16,386 bytes, more than 16,384"),
        ({1, 2}, "a set"),
        ("\ud800", "surrogate"),
    ],
)
def test_what_cannot_be_stored_is_refused_at_once(details: Any, reason: str) -> None:
    @workflow(version="1")
    async def shows(run: WorkflowRun) -> None:
        with pytest.raises(PayloadError, match=reason):
            run.set_details(details)
        await double.run(run, 1)

    assert said(run(shows)) == []


def test_only_the_body_itself_can_show_something() -> None:
    @task
    async def borrows() -> None:
        held[0].set_details("not mine")

    held: list[WorkflowRun] = []

    @workflow(version="1")
    async def lends(run: WorkflowRun) -> None:
        held.append(run)
        await borrows.run(run)

    world = run(lends)
    assert world.end is not None
    assert UsageError.__name__ in error_of(world.end)
    assert "set_details" in error_of(world.end)


def test_a_body_that_is_unwound_shows_nothing_any_more() -> None:
    @workflow(version="1")
    async def leaves(run: WorkflowRun) -> None:
        try:
            await run.sleep("1h")
        finally:
            run.set_details("left")

    world = run(leaves)
    assert said(world) == [b'"left"'], "at its end, and not when it left memory to sleep"


def test_a_unit_that_was_refused_takes_its_word_along() -> None:
    def refuses(unit: Unit) -> Recorded | None:
        return None if unit.end is not None else Recorded("refused", "a test")

    async def main() -> None:
        world = World(counts)
        world.before_record = refuses
        end = await world.finish()
        assert end.move is Move.FAIL
        assert said(world) == []

    simulate(main())
