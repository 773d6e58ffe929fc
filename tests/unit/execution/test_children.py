"""Children that a body starts and waits for: live, and on replay."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from aiki.core.errors import ChildFailed
from aiki.core.ids import derived_id
from aiki.core.states import Move, State
from aiki.definitions.options import NO_OPTIONS
from aiki.execution.arrivals import Arrivals
from aiki.execution.body import STARTS_AT_ONCE
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.families import (
    approved,
    breaks,
    children,
    grown,
    hears,
    keys,
    raised,
    sleeper,
    square,
)
from tests.unit.execution.replays import again, calls, double, error_of, output, slow
from tests.worlds.world import World


def test_a_child_that_is_awaited_is_two_entries_and_its_replay_starts_nobody() -> None:
    async def body(run: WorkflowRun) -> int:
        return await square.run(run, 7)

    world = grown(body)
    assert (output(world), keys(world)) == ("49", ["starts", "end"])
    (child,) = children(world)
    (start,) = [start for unit in world.units for start in unit.starts]
    key = world.journal[1].key.replace("end:", "start:")
    assert child.run_id == derived_id(world.run_id, 0, 1, key, milliseconds=world.started // 1_000)
    assert json.loads(bytes(world.journal[0].value)) == [[key, child.run_id, 0]]
    assert (start.workflow, start.version, bytes(start.input), start.parent_close) == (
        *("square", "1", b'{"number":7}', "cancel"),
    )
    assert bytes(world.journal[1].value) == b'"completed"', "its output stands with the child"


def test_children_that_are_gathered_start_in_one_unit_and_their_results_come_as_they_end() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        return list(await asyncio.gather(sleeper.run(run, 5, "a"), square.run(run, 3), sleeper.run(run, 2, "b")))

    world = grown(body)
    assert (output(world), calls) == ('["a",9,"b"]', ["b", "a"])
    assert [len(unit.starts) for unit in world.units if unit.starts] == [3]
    assert keys(world) == ["starts", "end", "end", "end"]


def test_a_start_shares_its_commit_with_what_was_recorded_before_it() -> None:
    async def body(run: WorkflowRun) -> int:
        return await square.run(run, await double.run(run, 3))

    world = grown(body)
    assert [entry.key.split(":")[0] for entry in world.units[0].entries] == ["task", "starts"]
    assert output(world) == "36"


def test_all_waits_once_for_all_and_its_entry_takes_every_end() -> None:
    async def body(run: WorkflowRun) -> list[int]:
        return await run.all([await square.start(run, number) for number in range(5)])

    world = grown(body)
    assert (output(world), keys(world)) == ("[0,1,4,9,16]", ["starts", "all"])
    assert sorted(world.journal[1].takes) == [1, 2, 3, 4, 5]
    assert bytes(world.journal[1].value) == b'{"completed":5}'


def test_a_result_that_is_asked_again_and_from_two_branches_is_one_entry() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        child = await sleeper.start(run, 3, "x")
        both = await asyncio.gather(child.result(), child.result())
        return [*both, await child.result(), *await run.all([child, child])]

    world = grown(body)
    assert (output(world), keys(world)) == ('["x","x","x","x","x"]', ["starts", "end"])


def test_what_all_has_brought_is_known_to_result_and_the_other_way_round() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        one, two = await square.start(run, 1), await square.start(run, 2)
        first = await one.result()
        return [first, await run.all([one, two]), await two.result(), await run.all([])]

    world = grown(body)
    assert (output(world), keys(world)) == ("[1,[1,4],4,[]]", ["starts", "end", "all"])
    assert len(world.journal[2].takes) == 1


def test_a_wait_for_all_beside_a_wait_for_each_comes_to_its_end_too() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        pair = [await sleeper.start(run, seconds, str(seconds)) for seconds in (1, 2)]
        results = await asyncio.gather(run.all(pair), *[child.result() for child in pair], run.all(pair))
        return list(results)

    world = grown(body)
    assert output(world) == '[["1","2"],"1","2",["1","2"]]'
    assert sorted(keys(world)) == ["all", "all", "end", "end", "starts"]


def test_a_wait_that_is_given_up_leaves_the_end_to_the_next() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        child = await sleeper.start(run, 5, "x")
        try:
            await asyncio.wait_for(child.result(), 2)
        except TimeoutError:
            return ["late", await child.result()]
        return []

    world = grown(body)
    assert (output(world), keys(world)) == ('["late","x"]', ["starts", "timer", "end"])


def test_a_child_that_failed_raises_with_its_error_each_time_it_is_asked() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        child = await breaks.start(run, "no stock")
        seen = []
        for _ in range(2):
            try:
                await child.result()
            except ChildFailed as error:
                seen.append([error.run_id == child.run_id, error.type, error.message, error.state, str(error)])
                seen[-1].append("raise ValueError" in error.traceback)
        return seen[0] if seen[0] == seen[1] else seen

    world = grown(body)
    (child,) = children(world)
    text = f"child {child.run_id} of workflow 'breaks' failed: ValueError: no stock"
    assert json.loads(output(world)) == [True, "ValueError", "no stock", "failed", text, True]
    assert not world.journal[1].ok


def test_of_all_the_first_that_failed_raises_once_all_have_ended() -> None:
    async def body(run: WorkflowRun) -> str:
        slow = await sleeper.start(run, 5, "slow")
        try:
            await run.all(
                [await square.start(run, 1), await breaks.start(run, "a"), await breaks.start(run, "b"), slow]
            )
        except ChildFailed as error:
            return error.message
        return "none"

    world = grown(body)
    assert (output(world), calls) == ('"a"', ["slow"])
    assert json.loads(bytes(world.journal[1].value)) == {"failed": 2, "completed": 2}


def test_what_is_started_last_is_started_with_the_end_and_cancelled_or_left_by_it() -> None:
    async def body(run: WorkflowRun) -> str:
        await sleeper.options(parent_close="abandon").start(run, 3, "left")
        await sleeper.start(run, 3, "with me")
        return "over"

    world = grown(body)
    assert (output(world), keys(world), len(world.units)) == ('"over"', ["starts"], 1)
    assert [child.state for child in children(world)] == [State.COMPLETED, State.CANCELLED]
    assert "left" in calls


@pytest.mark.parametrize("fails", [False, True])
def test_children_that_are_to_be_waited_for_end_before_their_parent_does(fails: bool) -> None:
    async def body(run: WorkflowRun) -> str:
        patient = sleeper.options(parent_close="wait")
        for seconds in (3, 2):
            await patient.start(run, seconds, str(seconds))
        await (await patient.start(run, 1, "1")).result()
        if fails:
            raise ValueError("over")
        return "over"

    world = raised(body)
    assert world.end is not None
    assert calls == ["1", "2", "3"]
    assert keys(world) == ["starts", "end", "all"]
    assert [child.state for child in children(world)] == [State.COMPLETED] * 3
    assert (world.end.move, "over" in error_of(world.end)) == (Move.FAIL if fails else Move.COMPLETE, fails)
    repeated = again(world)
    assert repeated.end is not None
    assert repeated.end.move is world.end.move


def test_a_child_takes_what_is_sent_to_it_in_the_unit_that_starts_it_and_ends_when_told() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        one, two = await hears.start(run), await hears.start(run)
        await asyncio.gather(one.send(approved, "hello"), two.cancel(reason="not needed"))
        seen = [await one.result()]
        await one.cancel()
        try:
            await two.result()
        except ChildFailed as error:
            seen += [error.state, error.type]
        return seen

    world = grown(body)
    (unit,) = [unit for unit in world.units if unit.starts]
    assert (len(unit.starts), len(unit.ops), [stop.reason for stop in unit.stops]) == (2, 1, ["not needed"])
    assert output(world) == '["hello","cancelled","RunCancelled"]'


def test_a_parent_that_leaves_memory_for_its_children_is_woken_by_their_ends() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        return list(await asyncio.gather(*[sleeper.run(run, seconds, str(seconds)) for seconds in (100, 200, 201)]))

    world = grown(body)
    assert output(world) == '["100","200","201"]'
    assert (world.ends, world.epoch) == ([Move.WAIT, Move.WAIT, Move.COMPLETE], 3)
    assert world.ends_read == 1, "a first claim has none to read"


@pytest.mark.parametrize("page_length", [2, 1_000])
def test_ends_are_read_again_page_after_page_before_a_replay_begins(page_length: int) -> None:
    async def body(run: WorkflowRun) -> list[int]:
        numbers = await run.all([await square.start(run, number) for number in range(5)])
        await run.sleep("1h")
        return numbers

    world = raised(body, page_length=page_length)
    assert (output(world), world.epoch) == ("[0,1,4,9,16]", 2)
    assert world.ends_read == (3 if page_length == 2 else 1)


@pytest.mark.parametrize("lost", [False, True], ids=["its commit stood", "its commit was lost"])
def test_a_crash_while_children_start_starts_each_once(lost: bool) -> None:
    async def body(run: WorkflowRun) -> list[int]:
        return await run.all([await square.start(run, number) for number in range(3)])

    def crash(world: World) -> None:
        unit, world._pending = world._pending, None
        assert unit is not None
        assert unit.starts
        if not lost:
            world.write(unit)
        world.crash()

    world = grown(body, (0.05, crash), latency=(0.1,))
    assert output(world) == "[0,1,4]"
    assert len(children(world)) == 3


def test_a_replay_whose_ends_are_gone_is_blocked_and_says_so() -> None:
    async def body(run: WorkflowRun) -> int:
        return await square.run(run, 7)

    world = raised(body)
    world.inbox.clear()
    repeated = again(world)
    assert repeated.state is State.BLOCKED
    assert repeated.end is not None
    why = f"what entry {world.journal[1].key} has taken is no longer in the run's inbox: it cannot be replayed"
    assert repeated.end.why == why


def test_many_starts_go_in_steps_and_what_is_for_a_child_goes_right_behind_its_start() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        children = [await square.start(run, number) for number in range(STARTS_AT_ONCE)]
        last, other = await hears.start(run), await sleeper.start(run, 60)
        await asyncio.gather(last.send(approved, "hello"), other.cancel())
        return [sum(await run.all(children)), await last.result()]

    world = grown(body, latency=(0.01, 0.1))
    assert output(world) == f'[{sum(number * number for number in range(STARTS_AT_ONCE))},"hello"]'
    units = [unit for unit in world.units if unit.starts]
    assert [(len(unit.starts), len(unit.ops), len(unit.stops)) for unit in units] == [(STARTS_AT_ONCE, 0, 0), (2, 1, 1)]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_crash_between_two_steps_of_starts_starts_each_child_once(lost: int) -> None:
    async def body(run: WorkflowRun) -> int:
        results = await asyncio.gather(*[square.run(run, 1) for _ in range(2 * STARTS_AT_ONCE + 1)])
        return sum(results)

    def crash(world: World) -> None:
        if world.execution is not None:
            world.crash()

    world = grown(body, (0.05 + lost / 10, crash), latency=(0.1,))
    assert (output(world), len(children(world))) == (str(2 * STARTS_AT_ONCE + 1), 2 * STARTS_AT_ONCE + 1)


def test_starts_that_no_entry_could_list_together_are_listed_by_several() -> None:
    async def body(run: WorkflowRun) -> str:
        for number in range(300):
            await square.options(parent_close="abandon").start(run, number)
        return "over"

    world = grown(body, message_bytes=64 * 1024)
    assert (output(world), keys(world)) == ('"over"', ["starts", "starts"])
    assert sum(int(entry.key.partition(":")[2]) for entry in world.journal) == len(children(world)) == 300
    assert len(world.units) == 1, "what is held when the body ends goes with its end"


def test_a_body_that_never_rests_starts_children_and_gets_their_ends_in_the_same_turns_again() -> None:
    async def body(run: WorkflowRun) -> list[int]:
        waits = [asyncio.create_task(square.run(run, number)) for number in (1, 2)]
        turns = 0
        while not all(wait.done() for wait in waits):
            turns += 1
            await asyncio.sleep(0)
        return [turns, *[wait.result() for wait in waits]]

    world = grown(body)
    assert keys(world) == ["starts", "end", "end"]
    assert world.journal[0].turns is not None


def test_a_worker_that_drains_leaves_starts_to_the_next_claim() -> None:
    async def body(run: WorkflowRun) -> int:
        await slow.run(run, 1)
        child = await square.start(run, 3)
        return await child.result()

    def drain(world: World) -> None:
        assert world.execution is not None
        world.execution.drain()

    world = grown(body, (1, drain))
    assert (output(world), world.ends) == ("9", [Move.RELEASE, Move.COMPLETE])
    assert [entry.key.split(":")[0] for entry in world.journal] == ["task", "starts", "end"]
    (drained,) = [unit for unit in world.units if unit.end is not None and unit.end.move is Move.RELEASE]
    assert not drained.starts


@pytest.mark.parametrize("many", [200, 400])
def test_a_fan_out_looks_at_each_end_a_bounded_number_of_times(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    end_of = Arrivals.end_of

    def counted(self: Arrivals, child: str) -> Any:
        looks.append(child)
        return end_of(self, child)

    monkeypatch.setattr(Arrivals, "end_of", counted)

    async def body(run: WorkflowRun) -> int:
        children = [await square.start(run, number) for number in range(many)]
        numbers = await asyncio.gather(run.all(children), *[child.result() for child in children])
        return len(numbers)

    world = raised(body)
    assert output(world) == str(many + 1)
    assert len(looks) < 12 * many


def test_a_child_has_the_options_that_its_start_says_and_no_priority_if_it_says_none() -> None:
    async def body(run: WorkflowRun) -> None:
        said = square.options(priority=0, labels={"a": "b"}, delay="5m", timeout="1h", cancel_timeout="1m", version="1")
        await run.all([await said.start(run, 1), await square.start(run, 2)])

    world = grown(body)
    one, two = [start.options for unit in world.units for start in unit.starts]
    assert (one.priority, one.labels, one.delay) == (0, {"a": "b"}, 300_000_000)
    assert (one.timeout, one.cancel_timeout) == (3_600_000_000, 60_000_000)
    assert two == NO_OPTIONS


@pytest.mark.parametrize("asked", ["once", "again", "by all"])
def test_a_body_that_a_child_has_failed_is_cut_where_that_was_told_whoever_asks_for_it_later(asked: str) -> None:
    async def body(run: WorkflowRun) -> None:
        child, other = await breaks.start(run, "no"), await square.start(run, 1)
        if asked != "once":
            with suppress(ChildFailed):
                await child.result()
            await double.run(run, 1)
        await (run.all([other, child]) if asked == "by all" else child.result())

    world = raised(body)
    assert world.end is not None
    assert keys(world)[:2] == ["starts", "end"]
    assert json.loads(error_of(world.end))["cut"] == 2
