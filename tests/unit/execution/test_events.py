"""Waits for events: which are taken, by whom, when a wait is over, and that its replay is the same."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from aiki.core.errors import EventTimeout, PayloadError, UsageError
from aiki.core.states import Move
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from aiki.payload import Json
from aiki.wire.limits import CLAIMED_ARRIVALS, NESTING, PAYLOAD_BYTES, UNREAD_EVENTS, WAITED_WORDS
from aiki.wire.packing import MAX_PAYLOAD_LEAST
from tests.unit.execution.bodies import failure_of
from tests.unit.execution.replays import double, output
from tests.unit.execution.telling import SECOND, approved, at, says, told, unread, voted, votes
from tests.worlds.view import EPOCH
from tests.worlds.world import World

ping = Event("ping")

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
