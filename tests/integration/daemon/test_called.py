"""What people look for in a story: whose each outcome is, when it began, what was called with; and who is not told."""

from __future__ import annotations

import pytest
from msgspec import Raw

from aiki.core.states import Move
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import NONE, NULL, UNDER_WAY, Attempt, Cancel, End, Entry, History, HistoryItem, Page
from aikid.engine import control, journal
from tests.integration.daemon.engine import VALUE, Engine, completed, onward, unit
from tests.integration.daemon.retrying import failed, outcome, retried

pytestmark = pytest.mark.anyio
ARGUMENTS = Raw(b'{"card":"4242"}')
FAILED = Raw(b'{"type":"E","message":"m"}')
START = 500_000


def told(name: str, arguments: Raw = ARGUMENTS, *, started: int | None = START, value: Raw = VALUE) -> Entry:
    return Entry(f"task:{name}:d:1", True, value, 1_000_000, started=started, arguments=arguments)


async def items(engine: Engine, run_id: str) -> list[HistoryItem]:
    """Return the outcomes and tries of a run's story."""
    found: list[HistoryItem] = []
    cursor = None
    while True:
        reply = await journal.story(engine.pool, engine.namespace, History(run_id, cursor), room=engine.room)
        found += [item for item in reply.items if item.move in ("entry", "attempt")]
        if (cursor := reply.cursor) is None:
            return found


async def whose(engine: Engine, run_id: str) -> list[str | None]:
    return [item.worker for item in await items(engine, run_id)]


async def test_an_outcome_and_a_try_are_told_with_when_they_began_and_what_was_called_with(engine: Engine) -> None:
    run_id = await engine.queued_run()
    fence = (await engine.claim_one()).fence
    tried = Attempt("task:b:d:1", 1, FAILED, 77, started=START, arguments=ARGUMENTS)
    assert await engine.results(unit(fence, 0, told("a"), attempts=[tried])) == ["done"]
    assert await engine.results(unit(fence, 1, told("b", NULL, started=None), end=completed())) == ["done"]
    found = [(one.move, one.started_at, one.arguments) for one in await items(engine, run_id)]
    assert found == [("attempt", START, ARGUMENTS), ("entry", START, ARGUMENTS), ("entry", None, NONE)]


async def test_no_worker_is_told_of_it(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    fence = (await engine.claim_one(session)).fence
    tried = Attempt("task:b:d:1", 1, UNDER_WAY, started=START, arguments=ARGUMENTS)
    assert await engine.results(unit(fence, 0, told("a"), attempts=[tried], end=End(Move.RELEASE))) == ["done"]
    run = await engine.claim_one(session)
    page = await journal.page(engine.pool, engine.namespace, Page(run_id), room=engine.room)
    tries = await journal.page(engine.pool, engine.namespace, Page(run_id, tried_after=""), room=engine.room)
    brought: list[Entry | Attempt] = [*run.entries, *run.attempts, *page.entries, *tries.attempts]
    for one in brought:
        assert (one.started, one.arguments) == (None, NULL)
    assert len(run.entries) == len(page.entries) == len(run.attempts) == len(tries.attempts) == 1


async def test_each_outcome_is_of_the_claim_in_which_it_was_recorded(engine: Engine) -> None:
    run_id = await engine.queued_run()
    for n, worker in enumerate(("w-1", "w-2")):
        fence = (await engine.claim_one(await engine.session(worker=worker))).fence
        tried = Attempt(f"task:t{n}:d:1", 1, FAILED, 1)
        assert await engine.results(unit(fence, n, told(f"a{n}"), attempts=[tried], end=End(Move.RELEASE))) == ["done"]
    # One that records nothing, and one that dies.
    fence = (await engine.claim_one(await engine.session(worker="w-3"))).fence
    assert await engine.results(unit(fence, 2, end=End(Move.RELEASE))) == ["done"]
    dying = await engine.session(worker="w-4")
    fence = (await engine.claim_one(dying)).fence
    assert await engine.results(unit(fence, 2, told("b"))) == ["done"]
    await engine.expire(dying)
    await engine.rescue()
    fence = (await engine.claim_one(await engine.session(worker="w-5"))).fence
    assert await engine.results(unit(fence, 3, told("c"), end=completed())) == ["done"]
    assert await whose(engine, run_id) == ["w-1", "w-1", "w-2", "w-2", "w-4", "w-5"]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_whose_an_outcome_is_does_not_hang_on_where_a_page_begins(
    engine: Engine, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_STORY_ITEMS", limit)
    await test_each_outcome_is_of_the_claim_in_which_it_was_recorded(engine)


async def test_an_outcome_of_another_generation_is_not_of_its_worker(engine: Engine) -> None:
    run_id = await engine.queued_run()
    fence = (await engine.claim_one(await engine.session(worker="w-1"))).fence
    assert await engine.results(unit(fence, 0, told("a"), end=onward())) == ["done"]
    fence = (await engine.claim_one(await engine.session(worker="w-2"))).fence
    tried = Attempt("task:b:d:1", 1, FAILED, 1)
    assert await engine.results(unit(fence, 0, told("a"), attempts=[tried])) == ["done"]
    assert await whose(engine, run_id) == ["w-1", "w-2", "w-2"]


async def test_a_retry_knows_whose_each_outcome_was_also_the_retry_of_a_retry(engine: Engine) -> None:
    run_id = await engine.queued_run()
    fence = (await engine.claim_one(await engine.session(worker="w-1"))).fence
    once = Attempt("task:once:d:1", 1, NULL, started=START, arguments=ARGUMENTS)
    done = unit(fence, 0, told("a"), told("b"), attempts=[once], end=End(Move.RELEASE))
    assert await engine.results(done) == ["done"]
    fence = (await engine.claim_one(await engine.session(worker="w-2"))).fence
    bad = outcome("bad", asked=2, ok=False)
    assert await engine.results(unit(fence, 2, bad, end=failed(3))) == ["done"]
    second = (await retried(engine, run_id)).run_id
    assert await whose(engine, second) == ["w-1", "w-1", "w-1", "w-2", None]
    assert [one.arguments for one in (await items(engine, second))[:3]] == [ARGUMENTS] * 3
    fence = (await engine.claim_one(await engine.session(worker="w-3"))).fence
    assert await engine.results(unit(fence, 4, bad, end=failed(5))) == ["done"]
    await engine.execute("DELETE FROM aiki.run_history WHERE run_id = %s", run_id)
    third = (await retried(engine, second)).run_id
    assert await whose(engine, third) == ["w-1", "w-1", "w-1", "w-2", None, "w-3", None]


async def test_a_retry_before_any_claim_copies_all_that_there_is(engine: Engine) -> None:
    run_id = await engine.queued_run()
    fence = (await engine.claim_one(await engine.session(worker="w-1"))).fence
    bad = outcome("bad", asked=1, ok=False)
    assert await engine.results(unit(fence, 0, told("a"), bad, end=failed(2))) == ["done"]
    second = (await retried(engine, run_id)).run_id
    await control.cancel(engine.pool, engine.namespace, Cancel([second], force=True))
    third = (await retried(engine, second)).run_id
    assert [one.key for one in await items(engine, third)][:2] == ["task:a:d:1", "task:bad:d:1"]
    assert (await whose(engine, third))[:2] == ["w-1", "w-1"]


async def test_a_repeat_stands_whatever_it_tells_people(engine: Engine) -> None:
    await engine.queued_run()
    fence = (await engine.claim_one()).fence
    assert await engine.results(unit(fence, 0, told("a"))) == ["done"]
    assert await engine.results(unit(fence, 0, told("a", NULL, started=None))) == ["done"]


async def test_what_a_running_try_says_keeps_when_it_began_and_what_with(engine: Engine) -> None:
    run_id = await engine.queued_run()
    fence = (await engine.claim_one()).fence
    first = Attempt("task:b:d:1", 1, UNDER_WAY, None, Raw(b"[1]"), 1, START, ARGUMENTS)
    for row in (first, Attempt("task:b:d:1", 1, UNDER_WAY, None, Raw(b"[2]"), 2)):
        assert await engine.results(unit(fence, 0, attempts=[row])) == ["done"]
    assert await engine.results(unit(fence, 0, attempts=[Attempt("task:b:d:1", 1, FAILED, 1)])) == ["done"]
    assert [(one.started_at, one.arguments) for one in await items(engine, run_id)] == [(START, ARGUMENTS)]


@pytest.mark.parametrize(
    ("arguments", "started", "said"),
    [
        (Raw(b'{"x":"' + b"y" * 280_000 + b'"}'), START, "more than 262,144"),
        (Raw(b"[" * 1_100 + b"]" * 1_100), START, "nested deeper"),
        (Raw(b'{"x":1e999,"y":"' + b"y" * 2_000 + b'"}'), START, "no client can read"),
        (Raw(b'"\xff"'), START, "UTF-8"),
        (ARGUMENTS, -1, "out of range"),
        (ARGUMENTS, 1 << 62, "out of range"),
    ],
)
async def test_what_could_not_be_told_is_refused(engine: Engine, arguments: Raw, started: int, said: str) -> None:
    await engine.queued_run()
    fence = (await engine.claim_one()).fence
    tried = Attempt("task:b:d:1", 1, FAILED, started=started, arguments=arguments)
    for bad in (unit(fence, 0, told("a", arguments, started=started)), unit(fence, 0, attempts=[tried])):
        (recorded,) = await engine.record(bad)
        assert recorded.result == "refused"
        assert said in (recorded.reason or "")


async def test_a_line_that_fits_no_message_with_its_arguments_is_told_without(engine: Engine) -> None:
    run_id = await engine.queued_run()
    fence = (await engine.claim_one()).fence
    large = told("a", Raw(b'"' + b"x" * 230_000 + b'"'), value=Raw(b'"' + b"y" * 230_000 + b'"'))
    assert await engine.results(unit(fence, 0, large)) == ["done"]
    (whole,) = await items(engine, run_id)
    assert len(whole.arguments) + len(whole.value) < MESSAGE_BYTES
    engine.room = 256 * 1024
    (cut,) = await items(engine, run_id)
    assert (cut.arguments, cut.value) == (NONE, large.value)
