"""A run's story is told in the order in which it happened, whatever the clocks say, and page by page."""

import pytest
from msgspec import Raw

from aiki.core.states import Move
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Attempt, End, Fence, History
from aikid.engine import journal
from aikid.store import story
from aikid.store.story import Line
from tests.integration.daemon.engine import Engine, completed, entry, event, onward, parked, unit

pytestmark = pytest.mark.anyio
FAILED = Raw(b'{"type":"E","message":"m"}')


async def lines(engine: Engine, run_id: str, *, limit: int = 1000) -> list[Line]:
    """Read the whole story, `limit` lines at a time."""
    found: list[Line] = []
    while page := await story.read(
        engine.pool, run_id, after=found[-1].place if found else story.BEGIN, limit=limit, limit_bytes=1 << 20
    ):
        found += page
    return found


def words(told: list[Line]) -> list[str]:
    return [line.move if line.key is None else f"{line.move} {line.key.split(':')[1]}" for line in told]


async def claim(engine: Engine) -> Fence:
    return (await engine.claim_one()).fence


async def test_a_claim_never_stands_before_its_enqueue(engine: Engine) -> None:
    """Their commits may have begun in the other order; so may a claim and the end of the one before."""
    run_id = await engine.queued_run()
    assert await engine.results(unit(await claim(engine), 0, entry("a"), end=End(Move.RELEASE))) == ["done"]
    assert await engine.results(unit(await claim(engine), 1, entry("b"), end=completed())) == ["done"]
    await engine.execute("UPDATE aiki.run_history SET at = at - seq * interval '1 s'")
    expected = ["enqueued", "claim", "entry a", "release", "claim", "entry b", "complete"]
    assert words(await lines(engine, run_id)) == expected


async def test_tries_stand_in_the_claim_that_made_them(engine: Engine) -> None:
    run_id = await engine.queued_run()
    fence = await claim(engine)
    tried = [Attempt("task:b:0:0", 1, FAILED, 77)]
    assert await engine.results(unit(fence, 0, entry("a"), attempts=tried)) == ["done"]
    tried = [Attempt("task:b:0:0", 2, FAILED, 77), Attempt("task:c:0:0", 1, FAILED, 77)]
    assert await engine.results(unit(fence, 1, attempts=tried, end=End(Move.RETRY, due_at=1))) == ["done"]
    await engine.wake()
    fence = await claim(engine)
    tried = [Attempt("task:b:0:0", 3, FAILED, 77)]
    assert await engine.results(unit(fence, 1, entry("b"), attempts=tried, end=completed())) == ["done"]
    await engine.execute("UPDATE aiki.attempts SET at = now() - attempt * interval '1 h'")
    assert words(await lines(engine, run_id)) == [
        *("enqueued", "claim", "attempt b", "entry a", "attempt b", "attempt c", "retry", "due"),
        *("claim", "attempt b", "entry b", "complete"),
    ]


async def test_what_a_dead_worker_recorded_stands_before_its_rescue(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    run = await engine.claim_one(session)
    await engine.record(unit(run.fence, 0, entry("a"), entry("b")))
    await engine.expire(session)
    await engine.rescue()
    fence = await claim(engine)
    # It gives the run back without having seen its journal, as after a reply that was lost.
    await engine.record(unit(fence, 0, end=End(Move.RELEASE)))
    await engine.record(unit(await claim(engine), 2, entry("c")))
    expected = ["enqueued", "claim", "entry a", "entry b", "rescue", "claim", "release", "claim", "entry c"]
    assert words(await lines(engine, run_id)) == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_are_exact_while_the_run_goes_on(engine: Engine, limit: int) -> None:
    run_id = await engine.queued_run()
    found: list[Line] = []
    for claims in range(6):
        found += await story.read(
            engine.pool, run_id, after=found[-1].place if found else story.BEGIN, limit=limit, limit_bytes=1 << 20
        )
        fence = await claim(engine)
        await engine.record(unit(fence, 2 * claims, entry(f"e{claims}"), attempts=[Attempt(f"task:t{claims}:0:0", 1)]))
        found += await story.read(engine.pool, run_id, after=found[-1].place, limit=limit, limit_bytes=1 << 20)
        await engine.record(unit(fence, 2 * claims + 1, entry(f"f{claims}"), end=End(Move.RELEASE)))
    while page := await story.read(engine.pool, run_id, after=found[-1].place, limit=limit, limit_bytes=1 << 20):
        found += page
    assert found == await lines(engine, run_id)
    assert len(found) == 1 + 6 * 5


async def test_a_page_of_large_outcomes_fits_a_message_and_the_next_goes_on(engine: Engine) -> None:
    run_id = await engine.queued_run()
    fence = await claim(engine)
    large = Raw(b'"' + b"x" * 200_000 + b'"')
    for base in range(7):
        await engine.record(unit(fence, base, entry(f"e{base}", large)))
    events: list[str] = []
    cursor = None
    while True:
        reply = await journal.story(engine.pool, "default", History(run_id, cursor), room=engine.room)
        assert sum(len(item.value) for item in reply.items) < MESSAGE_BYTES
        events += [item.move for item in reply.items]
        if (cursor := reply.cursor) is None:
            break
    assert events == ["enqueued", "claim", *["entry"] * 7]


async def test_events_that_nobody_has_taken_stand_behind_all_that_has_happened(engine: Engine) -> None:
    run_id = await engine.queued_run()
    await engine.send(*(event(run_id, f"e{n}") for n in range(3)))
    fence = await claim(engine)
    taken = entry("a")
    taken.takes = (2,)
    assert await engine.results(unit(fence, 0, taken)) == ["done"]
    expected = ["enqueued", "claim", "entry a", "event e0", "event e2"]
    for limit in (1, 2, 1000):
        assert words(await lines(engine, run_id, limit=limit)) == expected
    status = await engine.status(run_id)
    assert (status.unread, status.waits) == (2, [])
    await engine.record(unit(fence, 1, end=parked(3, "event:approved", "op")))
    status = await engine.status(run_id)
    assert (status.unread, status.waits) == (2, ["event:approved", "op"])


async def test_each_generation_is_told_with_its_journal_and_its_tries_and_the_line_that_ends_it(engine: Engine) -> None:
    run_id = await engine.queued_run()
    tried = [Attempt("task:b:0:0", 1, FAILED, 77)]
    for number in range(2):
        await engine.record(unit(await claim(engine), 0, entry(f"a{number}"), end=End(Move.RELEASE)))
        last = unit(await claim(engine), 1, entry(f"b{number}"), attempts=tried, end=onward())
        assert await engine.results(last) == ["done"]
    await engine.record(unit(await claim(engine), 0, entry("c")))
    await engine.send(event(run_id, "e"))
    one = ["claim", "entry a{0}", "release", "claim", "attempt b", "entry b{0}", "continue"]
    expected = ["enqueued", *(line.format(n) for n in range(2) for line in one), "claim", "entry c", "event e"]
    for limit in (1, 2, 3, 1000):
        told = await lines(engine, run_id, limit=limit)
        assert words(told) == expected
    assert [line.generation for line in told[:-1]] == [0] * 8 + [1] * 7 + [2] * 2


async def test_an_attempt_that_begins_anew_is_told_as_a_generation_of_its_own(engine: Engine) -> None:
    run_id = await engine.queued_run()
    failed = End(Move.AGAIN, error=FAILED, due_at=1, anew=True)
    assert await engine.results(unit(await claim(engine), 0, entry("a"), end=failed)) == ["done"]
    await engine.wake()
    await engine.record(unit(await claim(engine), 0, entry("b"), end=completed()))
    told = await lines(engine, run_id)
    assert words(told) == ["enqueued", "claim", "entry a", "again", "due", "claim", "entry b", "complete"]
    assert [line.generation for line in told] == [0] * 4 + [1] * 4
