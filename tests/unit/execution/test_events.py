"""Waits for events: which are taken, by whom, when a wait is over, and that its replay is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from aiki.core.errors import EventTimeout, PayloadError, UsageError
from aiki.core.retry import Retry
from aiki.core.states import Move, State
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution import Limits
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from aiki.payload import Json
from aiki.wire.limits import CLAIMED_ARRIVALS, NESTING, PAYLOAD_BYTES, UNREAD_EVENTS, WAITED_WORDS
from aiki.wire.messages import Unit
from aiki.wire.packing import MAX_PAYLOAD_LEAST
from tests.unit.execution.bodies import failure_of
from tests.unit.execution.replays import again, double, output, slow
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import EPOCH, World

SECOND = 1_000_000
approved, voted, ping = Event("approved", type=str), Event("voted", type=int), Event("ping")

Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]
Outside = Callable[[World], Coroutine[Any, Any, None]]


def told(body: Body, outside: Outside | None = None, *, before: Outside | None = None, **options: Any) -> World:
    """Run the body to its end while `outside` goes on beside it, and again from its journal."""

    @workflow(name="told", version="1")
    async def flow(run: WorkflowRun) -> Any:
        return await body(run)

    async def main() -> World:
        world = World(flow, **options)
        if before is not None:
            await before(world)
        beside = None if outside is None else asyncio.create_task(outside(world))
        await world.finish()
        if beside is not None:
            await beside
        return world

    world = simulate(main())
    assert output(again(world)) == output(world)
    return world


def at(*moments: tuple[float, Callable[[World], object]]) -> Outside:
    """Return what does each of these at its second."""

    async def go(world: World) -> None:
        for seconds, do in moments:
            await asyncio.sleep(max(0, seconds - (world.clock() - EPOCH) / SECOND))
            do(world)

    return go


def says(text: str) -> Callable[[World], object]:
    return lambda world: world.send(approved.bind(text))


def votes(number: int) -> Callable[[World], object]:
    return lambda world: world.send(voted.bind(number))


def unread(world: World) -> list[bytes]:
    return [bytes(arrival.value) for arrival in world.inbox.unread]


# -- what comes


@pytest.mark.parametrize(("along", "reads"), [((1,), 0), ((0,), 2)], ids=["along", "read"])
def test_what_comes_along_with_the_word_of_it_need_not_be_read(along: tuple[int, ...], reads: int) -> None:
    async def body(run: WorkflowRun) -> list[str]:
        return [await run.wait_for(approved), await run.wait_for(approved)]

    async def outside(world: World) -> None:
        world.along = along
        for second, name in enumerate(("first", "second"), 1):
            await asyncio.sleep(second)
            world.send(approved.bind(name))

    world = told(body, outside)
    assert output(world) == '["first","second"]'
    assert (world.reads, world.lingered) == (reads, 2)


def test_what_came_before_the_wait_is_taken_in_its_order() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        return [await run.wait_for(approved), await run.wait_for(approved)]

    world = told(body, before=at((0, says("a")), (0, says("b"))))
    assert output(world) == '["a","b"]'
    assert [entry.takes for entry in world.journal] == [(1,), (2,)]


def test_an_event_reaches_a_run_that_lingers_under_the_same_claim() -> None:
    async def body(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    world = told(body, at((3, says("x"))))
    assert (output(world), world.epoch, world.lingered) == ('"x"', 1, 1)


def test_a_wait_leaves_memory_after_the_linger_time_and_an_event_wakes_it() -> None:
    async def body(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    world = told(body, at((60, votes(1)), (100, says("x"))))
    assert (output(world), world.ends) == ('"x"', [Move.WAIT, Move.COMPLETE])
    parked = world.units[0].end
    assert parked is not None
    assert (parked.waits, parked.due_at, parked.seen) == (["event:approved"], None, 0)


def test_one_park_names_all_that_is_waited_for_and_the_earliest_date() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        return list(await asyncio.gather(run.wait_for(approved, timeout="1h"), run.wait_for(voted), run.sleep("30m")))

    world = told(body, at((60, votes(1)), (100, says("x"))))
    parked = world.units[0].end
    assert parked is not None
    assert (parked.waits, parked.due_at) == (["event:approved", "event:voted", "wake"], EPOCH + 1_800 * SECOND)
    assert output(world) == '["x",1,null]'


def test_more_than_a_claim_brings_is_read_page_by_page() -> None:
    async def body(run: WorkflowRun) -> int:
        return sum([await run.wait_for(voted) for _ in range(250)])

    world = told(body, before=at(*((0, votes(number)) for number in range(250))))
    assert CLAIMED_ARRIVALS < 250
    assert output(world) == str(sum(range(250)))


def test_an_event_that_carries_nothing_is_none() -> None:
    async def body(run: WorkflowRun) -> bool:
        return (await run.wait_for(ping)) is None  # type: ignore[func-returns-value]  # that is what it is about

    assert output(told(body, at((1, lambda world: world.send(ping.bind()))))) == "true"


def test_a_message_tells_its_event_and_when_it_came() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        message = await run.wait_any(voted, approved)
        return [approved.matches(message), message.value, message.at.timestamp()]

    assert output(told(body, at((2, says("x"))))) == f'[true,"x",{EPOCH / SECOND + 2}]'


# -- who takes what


def test_waits_for_one_name_are_served_in_the_order_in_which_they_were_asked() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        return list(await asyncio.gather(run.wait_for(approved), run.wait_for(approved)))

    assert output(told(body, at((1, says("a")), (2, says("b"))))) == '["a","b"]'


def test_a_count_takes_all_or_none_and_holds_back_nobody_meanwhile() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        return list(await asyncio.gather(run.wait_for(voted, count=3), run.wait_for(voted)))

    assert output(told(body, at(*((number, votes(number)) for number in range(1, 5))))) == "[[2,3,4],1]"


def test_a_count_that_is_not_reached_in_time_takes_none() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        try:
            return await run.wait_for(voted, count=3, timeout="5s")
        except EventTimeout as error:
            first: int = await run.wait_for(voted)
            second: int = await run.wait_for(voted)
            return [str(error), first, second]

    world = told(body, at((1, votes(1)), (2, votes(2))))
    assert output(world) == "[\"3 events 'voted' have not come within 5 s\",1,2]"


def test_of_several_names_the_first_is_taken_and_the_others_stay_unread() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        message = await run.wait_any(approved, voted)
        return [message.event.name, message.value, await run.wait_for(approved)]

    assert output(told(body, before=at((0, votes(7)), (1, says("x"))))) == '["voted",7,"x"]'


def test_an_abandoned_wait_takes_nothing() -> None:
    async def body(run: WorkflowRun) -> str:
        waiting = asyncio.create_task(run.wait_for(approved))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.sleep(5)
        return await run.wait_for(approved)

    assert output(told(body, at((3, says("x"))))) == '"x"'


def test_a_wait_that_is_left_pending_takes_the_next_event() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        waiting = asyncio.create_task(run.wait_for(approved))
        await asyncio.sleep(2)
        second = await run.wait_for(approved)
        return [second, await waiting]

    assert output(told(body, at((3, says("a")), (4, says("b"))))) == '["b","a"]'


def test_an_event_that_no_longer_fits_is_taken_and_raises_there() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        try:
            await run.wait_for(voted)
        except PayloadError as error:
            number: int = await run.wait_for(voted)
            return [str(error), str(number)]
        return []

    older = Event("voted", type=str)
    world = told(body, at((1, lambda world: world.send(older.bind("x"))), (2, votes(3))))
    assert output(world) == '["event \'voted\': expected `int`, got `str` at `$`","3"]'
    assert unread(world) == []


def test_events_that_are_too_large_together_are_refused_and_stay_unread() -> None:
    large = Event("large", type=str)

    async def body(run: WorkflowRun) -> list[Any]:
        try:
            return await run.wait_for(large, count=2)
        except PayloadError as error:
            text: str = await run.wait_for(large)
            return [str(error), len(text)]

    def sends(world: World) -> None:
        world.send(large.bind("x" * 200_000))

    assert "together larger than" in output(told(body, at((1, sends), (2, sends))))


@pytest.mark.parametrize("method", ["wait_for", "wait_any"])
def test_the_largest_and_deepest_event_is_taken(method: str) -> None:
    deep, large = Event("deep", type=Json), Event("l" * 64, type=str)

    async def body(run: WorkflowRun) -> int:
        if method == "wait_any":
            await run.wait_any(deep)
            return len((await run.wait_any(large)).value)
        await run.wait_for(deep)
        text: str = await run.wait_for(large)
        return len(text)

    levels: Json = 1
    for _ in range(NESTING):
        levels = [levels]
    events = deep.bind(levels), large.bind("x" * (PAYLOAD_BYTES - 2))
    world = told(body, at(*((1, partial(World.send, event=event)) for event in events)))
    assert output(world) == str(PAYLOAD_BYTES - 2)


def test_a_wait_takes_as_many_events_as_a_run_can_have() -> None:
    async def body(run: WorkflowRun) -> int:
        return len(await run.wait_for(voted, count=UNREAD_EVENTS))

    world = told(body, before=at(*[(0, votes(7))] * UNREAD_EVENTS))
    assert output(world) == str(UNREAD_EVENTS)


def test_events_that_are_too_large_together_for_a_narrow_server_are_refused_and_stay_unread() -> None:
    async def body(run: WorkflowRun) -> int:
        try:
            return len(await run.wait_for(approved, count=2))
        except PayloadError:
            return -1

    world = told(body, before=at(*[(0, says("x" * 20_000))] * 2), message_bytes=MAX_PAYLOAD_LEAST)
    assert (output(world), len(unread(world))) == ("-1", 2)


def test_what_was_not_taken_stays_unread_at_the_end() -> None:
    async def body(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    world = told(body, before=at((0, votes(1)), (0, says("x")), (0, says("y"))))
    assert unread(world) == [b"1", b'"y"']


# -- timeouts


def test_a_wait_that_times_out_is_recorded_under_its_own_key_and_takes_nothing() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        try:
            return [await run.wait_for(approved, timeout="5s")]
        except EventTimeout as error:
            return [str(error), list(error.events), error.seconds, run.now().timestamp(), await run.wait_for(approved)]

    world = told(body, at((6, says("late"))))
    assert output(world) == (
        f'["event \'approved\' has not come within 5 s",["approved"],5.0,{EPOCH / SECOND + 5},"late"]'
    )
    assert [entry.ok for entry in world.journal] == [False, True]
    assert world.journal[0].key.startswith("event:approved:")


def test_a_wait_of_no_time_takes_what_is_there() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        seen = [await run.wait_for(approved, timeout="0s")]
        try:
            seen.append(await run.wait_for(approved, timeout="0s"))
        except EventTimeout:
            seen.append("nothing")
        return seen

    assert output(told(body, before=at((0, says("x"))))) == '["x","nothing"]'


@pytest.mark.parametrize("own", [True, False], ids=["timeout=", "asyncio.timeout"])
def test_an_event_that_came_in_time_is_never_overtaken_though_the_worker_was_not_told(own: bool) -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            if own:
                return await run.wait_for(approved, timeout="5s")
            async with asyncio.timeout(5):
                return await run.wait_for(approved)
        except TimeoutError:
            return "overtaken"

    def deaf(world: World) -> None:
        world.deafness = 1
        world.send(approved.bind("x"))

    world = told(body, at((4.999, deaf)))
    assert output(world) == '"x"'
    assert world.timers == ["news"]


def test_an_event_of_the_very_moment_of_the_deadline_came_in_time() -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            return await run.wait_for(approved, timeout="5s")
        except EventTimeout:
            return "timed out"

    assert output(told(body, at((5, says("x"))))) == '"x"'


def test_a_worker_whose_clock_is_ahead_asks_again_until_it_is_time() -> None:
    async def body(run: WorkflowRun) -> list[str]:
        try:
            return [await run.wait_for(approved, timeout="5s")]
        except EventTimeout:
            return ["timed out"]

    async def ahead(world: World) -> None:
        world.skew = 100_000

    world = told(body, before=ahead)
    assert world.timers.count("early") in range(2, 8)
    assert world.timers[-1] == "done"


def test_a_timer_that_was_refused_for_other_news_is_asked_again() -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            return await run.wait_for(approved, timeout="5s")
        except EventTimeout:
            return "timed out"

    def deaf(world: World) -> None:
        world.deafness = 1
        world.send(voted.bind(1))

    world = told(body, at((4, deaf)))
    assert (output(world), world.timers) == ('"timed out"', ["news", "done"])


def test_a_timer_is_asked_with_what_was_seen_when_it_was_decided_not_when_it_is_sent() -> None:
    async def body(run: WorkflowRun) -> str:
        working = asyncio.create_task(slow.run(run, 1))
        try:
            return await run.wait_for(approved, timeout="5020ms")
        except EventTimeout:
            return "overtaken"
        finally:
            await working

    def quick(world: World) -> None:
        world.latency = (0.001,)
        assert world.execution is not None
        world.execution.on_news(1)

    def deaf(world: World) -> None:
        world.deafness = 1
        world.send(approved.bind("x"))

    # The task's entry is on its way from 5.0 s to 5.3 s, and the timer waits for it: meanwhile the event is read.
    world = told(body, at((5.01, deaf), (5.1, quick)), latency=(0.3,))
    asked = next(unit.timer for unit in world.units if unit.timer is not None)
    assert (asked.seen, world.timers, output(world)) == (0, ["news"], '"x"')


def test_a_timer_beside_no_wait_is_not_asked() -> None:
    async def body(run: WorkflowRun) -> str:
        got = await run.wait_for(approved)
        await run.sleep("5s")
        return got

    assert told(body, at((1, says("x")))).timers == []


def test_a_timer_beside_a_wait_is_asked_and_nothing_is_started_until_it_is_answered() -> None:
    async def body(run: WorkflowRun) -> list[Any]:
        async def sleeps() -> int:
            await run.sleep("3s")
            return await double.run(run, 2)

        return list(await asyncio.gather(run.wait_for(approved), sleeps()))

    world = told(body, at((9, says("x"))))
    assert (output(world), world.timers) == ('["x",4]', ["done"])
    asked = next(unit for unit in world.units if unit.timer is not None)
    assert (asked.entries, asked.end) == ([], None)


def test_a_spinning_body_is_given_an_asked_timer_after_as_many_turns_as_are_recorded() -> None:
    async def body(run: WorkflowRun) -> int:
        waiting = asyncio.create_task(run.wait_for(approved))
        slept = asyncio.create_task(asyncio.sleep(1))
        turns = 0
        while not slept.done():
            turns += 1
            await asyncio.sleep(0)
        waiting.cancel()
        return turns

    world = told(body)
    assert world.timers == ["done"]
    assert world.journal[0].turns is not None


# -- parks, claims and crashes


def test_an_event_that_overtakes_the_park_is_not_lost() -> None:
    async def body(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    def before(world: World) -> Callable[[Unit], None]:
        def look(unit: Unit) -> None:
            if unit.end is not None and unit.end.move is Move.WAIT and not world.inbox.arrivals:
                world.send(approved.bind("x"))

        return look

    async def forced(world: World) -> None:
        world.deafness = 1
        world.before_record = before(world)

    world = told(body, before=forced)
    assert (output(world), world.refused_parks, world.epoch) == ('"x"', 1, 1)


@pytest.mark.parametrize("linger", [0, 10], ids=["with its slot", "without"])
def test_a_run_whose_park_is_refused_keeps_the_retry_that_it_waits_for(linger: float) -> None:
    tries: list[int] = []

    @task(retry=Retry.fixed(2, "60s"))
    async def flaky() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("again")
        return "done"

    async def body(run: WorkflowRun) -> list[Any]:
        return list(await asyncio.gather(flaky.run(run), run.wait_for(approved)))

    async def forced(world: World) -> None:
        def look(unit: Unit) -> None:
            if unit.end is not None and unit.end.move is Move.WAIT and not world.inbox.arrivals:
                world.send(voted.bind(1))

        world.deafness = 1
        world.before_record = look

    world = told(body, at((80, says("x"))), before=forced, limits=Limits(linger_seconds=linger))
    assert (output(world), world.refused_parks) == ('["done","x"]', 1)
    assert world.epoch <= 3


def test_a_crash_between_delivery_and_commit_leaves_the_event_unread() -> None:
    @workflow(name="crashes", version="1")
    async def crashes(run: WorkflowRun) -> str:
        got = await run.wait_for(approved)
        await slow.run(run, 1)
        return got

    async def main() -> World:
        world = World(crashes)
        world.send(approved.bind("x"))
        world.claim()
        world._pending = None  # the unit is lost with its worker
        assert world.execution is not None
        world.crash()
        assert unread(world) == [b'"x"']
        await world.finish()
        return world

    world = simulate(main())
    assert output(world) == '"x"'
    assert output(again(world)) == '"x"'


def test_draining_parks_a_run_that_waits() -> None:
    @workflow(name="waits", version="1")
    async def waits(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    async def main() -> None:
        world = World(waits)
        world.claim().drain()
        await world.settle()
        parked = world.state
        world.send(approved.bind("x"))
        assert (parked, world.state) == (State.WAITING, State.QUEUED)
        await world.finish()
        assert output(world) == '"x"'

    simulate(main())


def test_a_run_that_may_not_leave_while_its_worker_drains_is_given_back() -> None:
    @workflow(name="waits", version="1")
    async def waits(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    async def main() -> None:
        world = World(waits)
        world.deafness = 1
        execution = world.claim()
        world.send(approved.bind("x"))
        execution.drain()
        await world.settle()
        assert (world.refused_parks, world.ends) == (1, [Move.RELEASE])
        await world.finish()
        assert output(world) == '"x"'

    simulate(main())


def test_a_run_that_waits_for_a_slot_to_take_an_event_is_given_back_when_its_worker_drains() -> None:
    @workflow(name="waits", version="1")
    async def waits(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    async def main() -> None:
        world = World(waits)
        execution = world.claim()
        await world.settle(until=lambda: world.lingered == 1)
        world.wants_slot = lambda run: execution.drain()  # type: ignore[method-assign]  # no slot is free
        world.send(approved.bind("x"))
        await world.settle()
        assert world.ends == [Move.RELEASE]
        await world.finish()
        assert output(world) == '"x"'

    simulate(main())


# -- the journal


def test_every_entry_holds_how_many_there_were_when_its_call_was_asked() -> None:
    async def body(run: WorkflowRun) -> None:
        waiting = asyncio.create_task(run.wait_for(approved))
        await asyncio.sleep(0)
        run.patched("new")
        await double.run(run, 1)
        await run.sleep("1s")
        await waiting

    world = told(body, at((5, says("x"))))
    assert [(entry.key.partition(":")[0], entry.asked) for entry in world.journal] == [
        ("patch", 0),
        ("task", 1),
        ("timer", 2),
        ("event", 0),
    ]


# -- what is refused


@pytest.mark.parametrize("names", [WAITED_WORDS, WAITED_WORDS + 1])
def test_more_events_at_once_than_a_park_can_name_are_refused_where_they_are_waited_for(names: int) -> None:
    events = [Event(f"e{number}") for number in range(names)]

    async def body(run: WorkflowRun) -> list[str]:
        waits = [asyncio.ensure_future(run.wait_for(event)) for event in events for _ in range(2)]
        await asyncio.wait(waits, timeout=60)
        return sorted({str(wait.exception()) for wait in waits if wait.done()})

    world = told(body)
    assert ("more than 1,000 different events" in output(world)) == (names > WAITED_WORDS)
    park = world.units[0].end
    assert park is not None
    assert len(park.waits) == WAITED_WORDS


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda run: run.wait_for("approved"), "wait_for() was given a value of type str where an event belongs"),
        (lambda run: run.wait_for(approved, count=0), "wait_for(count=0): it must be a whole number from 1"),
        (lambda run: run.wait_for(approved, count=True), "wait_for(count=True)"),
        (lambda run: run.wait_for(approved, timeout=5), "duration"),
        (lambda run: run.wait_any(), "wait_any() was given no event"),
        (
            lambda run: run.wait_any([approved]),
            "wait_any() was given a value of type list where an event belongs (await run.wait_any(*events)",
        ),
    ],
)
def test_what_cannot_be_waited_for_is_refused(call: Any, why: str) -> None:
    async def body(run: WorkflowRun) -> None:
        await call(run)

    text = failure_of(body)
    assert '"type":"UsageError"' in text
    assert why in text


def test_a_wait_outside_of_the_body_is_refused() -> None:
    runs: list[WorkflowRun] = []

    async def body(run: WorkflowRun) -> None:
        runs.append(run)

    told(body)
    with pytest.raises(UsageError, match=r"run.wait_for\(\) was called outside"):
        asyncio.run(runs[0].wait_for(approved))
