"""Who follows runs in full is told once a change, at a pace, and can find out what was missed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from msgspec import Raw
from nats.aio.client import Client as Connection

from aiki.core.states import Move, State
from aiki.wire import codec, subjects
from aiki.wire.limits import FOLLOWED_CALLS
from aiki.wire.messages import (
    UNDER_WAY,
    Attempt,
    Delete,
    End,
    Enqueue,
    FeedNews,
    Follow,
    FollowNamespace,
    FollowReply,
    Pause,
    Record,
    RunFeed,
    Seen,
    Send,
    SummaryReply,
)
from aikid.app import App
from aikid.tell.followers import GAP_SECONDS, Followers
from aikid.tell.heard import Elsewhere
from tests.integration.daemon.asking import ask_together, running_app
from tests.integration.daemon.costing import CountedPool
from tests.integration.daemon.engine import Engine, completed, entry, event, new_run, onward, unit
from tests.servers import Nats
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

Heard = dict[str, list[bytes]]
FAILED = Raw(b'{"type":"TimeoutError","message":"no \\"answer\\"","traceback":"Traceback"}')


@pytest.fixture
async def heard(bus: Connection) -> Heard:
    """What is pushed to inboxes of tests, by inbox."""
    messages: Heard = defaultdict(list)

    async def hear(message: Any) -> None:
        messages[message.subject].append(message.data)

    await bus.subscribe("_INBOX.test.*", cb=hear)
    await bus.flush()
    return messages


@pytest.fixture
async def second(database: str, nats: Nats) -> AsyncIterator[App]:
    """Another daemon on the same servers."""
    async with running_app(database, nats.url) as made:
        yield made


def feeds(heard: Heard, inbox: str = "_INBOX.test.a") -> list[RunFeed]:
    return [feed for data in heard[inbox] for feed in codec.decode(data, FeedNews).feeds]


async def follow(app: App, bus: Connection, *seen: Seen, inbox: str = "_INBOX.test.a") -> list[RunFeed]:
    (reply,) = await ask_together(app, bus, ("default", Follow(list(seen), inbox, 60.0)))
    return codec.decode_reply(reply, FollowReply).runs


@dataclass
class Alone:
    """The followers of a daemon, apart from it: how often they read is counted."""

    pool: CountedPool
    followers: Followers

    async def follow(self, run_id: str, *inboxes: str) -> None:
        await self.followers.answer([("default", Follow([Seen(run_id)], inbox, 60.0)) for inbox in inboxes])


@pytest.fixture
async def alone(app: App, database: str) -> AsyncIterator[Alone]:
    pool = CountedPool(database)
    followers = Followers(pool, app.bus, app.looks, Elsewhere(app.bus))
    running = asyncio.create_task(followers.run())
    yield Alone(pool, followers)
    running.cancel()
    await asyncio.wait([running])
    await pool.aclose()


async def test_what_a_run_has_come_to_is_told_from_where_it_goes_on(
    app: App, engine: Engine, bus: Connection, heard: Heard
) -> None:
    run_id = await engine.queued_run()
    (feed,) = await follow(app, bus, Seen(run_id))
    assert (feed.run.state, feed.since, feed.journal_seq, feed.outcomes) == (State.QUEUED, 0, 0, [])
    assert feed.explained is not None
    run = await engine.claim_one()
    failed = Attempt("task:b:0:0", 1, FAILED, (feed.now + 3_600_000_000))
    await ask_together(app, bus, ("default", Record([unit(run.fence, 0, entry("a"), attempts=[failed])])))
    await wait_until(lambda: feeds(heard))
    first = feeds(heard)[-1]
    assert [(one.seq, one.key, one.ok) for one in first.outcomes] == [(1, "task:a:0:0", True)]
    assert [(one.key, one.state, one.attempt, one.error) for one in first.open] == [
        ("task:b:0:0", "retrying", 1, 'TimeoutError: no "answer"')
    ]
    entries = [entry("b"), entry("c", FAILED)]
    entries[1].ok = False
    await ask_together(app, bus, ("default", Record([unit(run.fence, 1, *entries, end=completed())])))
    await wait_until(lambda: feeds(heard)[-1].run.state is State.COMPLETED)
    last = feeds(heard)[-1]
    assert last.since <= 1
    assert [(one.seq, one.ok, one.attempt, one.error) for one in last.outcomes if one.seq > 1] == [
        (2, True, 2, ""),
        (3, False, 1, 'TimeoutError: no "answer"'),
    ]
    assert (last.done, last.failed, last.open, last.explained) == (3, 1, [], None)
    assert len(app.followers) == 0


async def test_two_hundred_followers_cost_one_read_and_one_encoding_a_change(
    alone: Alone, engine: Engine, heard: Heard
) -> None:
    costs = []
    for count in (1, 200):
        run_id = await engine.queued_run()
        run = await engine.claim_one()
        inboxes = [f"_INBOX.test.{run_id}-{number}" for number in range(count)]
        before = alone.pool.count
        await alone.follow(run_id, *inboxes)
        asked = alone.pool.count - before
        await engine.record(unit(run.fence, 0, entry(), end=completed()))
        alone.followers.changed("default", [run_id])
        await wait_until(partial(_all_heard, heard, inboxes))
        costs.append((asked, alone.pool.count - before - asked))
        assert {len(heard[inbox]) for inbox in inboxes} == {1}
        assert len({heard[inbox][0] for inbox in inboxes}) == 1
        assert len(alone.followers) == 0
    assert costs[0] == costs[1]


def _all_heard(heard: Heard, inboxes: Sequence[str]) -> bool:
    return all(heard[inbox] for inbox in inboxes)


async def test_an_end_that_another_asks_about_first_is_told_to_all(alone: Alone, engine: Engine, heard: Heard) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await alone.follow(run_id, "_INBOX.test.a")
    await engine.record(unit(run.fence, end=completed()))
    await alone.follow(run_id, "_INBOX.test.b")  # before anybody is told of it
    await wait_until(lambda: feeds(heard), 3, what="the end")
    assert feeds(heard)[-1].run.state is State.COMPLETED
    await wait_until(lambda: len(alone.followers) == 0)


async def test_of_a_worker_that_does_not_answer_what_is_on_record_is_told_soon(
    app: App, engine: Engine, bus: Connection, heard: Heard
) -> None:
    session = await engine.session()
    await bus.subscribe(subjects.look("default", session))
    await engine.queued_run()
    run = await engine.claim_one(session)
    said = Attempt("task:a:0:0", 1, UNDER_WAY, None, Raw(b'[null,0.5,"half"]'), 5)
    began = asyncio.get_running_loop().time()
    (feed,) = await follow(app, bus, Seen(run.fence.run_id))
    assert (feed.run.state, feed.open) == (State.RUNNING, [])
    await ask_together(app, bus, ("default", Record([unit(run.fence, 0, attempts=[said])])))
    await wait_until(lambda: feeds(heard) and feeds(heard)[-1].open)
    assert [(one.key, one.state, one.fraction, one.message) for one in feeds(heard)[-1].open] == [
        ("task:a:0:0", "running", 0.5, "half")
    ]
    assert asyncio.get_running_loop().time() - began < patient(5), "each look is given up after 300 ms"


async def test_a_run_is_told_of_at_most_four_times_a_second_and_its_last_state_always(
    app: App, engine: Engine, bus: Connection, heard: Heard
) -> None:
    run_id = await engine.queued_run()
    await follow(app, bus, Seen(run_id))
    run = await engine.claim_one()
    for base in range(40):
        await ask_together(app, bus, ("default", Record([unit(run.fence, base, entry(str(base)))])))
        await asyncio.sleep(0.02)
    await wait_until(lambda: feeds(heard)[-1].journal_seq == 40)
    told = feeds(heard)
    assert [one.seq for feed in told for one in feed.outcomes] == list(range(1, 41)), "each once, since none was lost"
    assert all(after.since == before.journal_seq for before, after in pairwise(told))
    seconds = (told[-1].now - told[0].now) / 1e6
    assert len(told) <= seconds / GAP_SECONDS + 2


async def test_whoever_has_missed_something_is_told_all_after_it(app: App, engine: Engine, bus: Connection) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, 0, *(entry(str(number)) for number in range(5))))
    (feed,) = await follow(app, bus, Seen(run_id, 0, 3))
    assert (feed.since, [one.seq for one in feed.outcomes]) == (3, [4, 5])
    for seen in (Seen(run_id, 0, 99), Seen(run_id, 7, 3), Seen(run_id)):
        (feed,) = await follow(app, bus, seen)
        assert (feed.since, [one.seq for one in feed.outcomes]) == (0, [1, 2, 3, 4, 5])


async def test_a_long_journal_costs_no_more_than_what_is_told(app: App, engine: Engine, bus: Connection) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    waits = [Attempt("task:late:0:0", 1, FAILED, 1 << 52)]
    await engine.record(unit(run.fence, 0, attempts=waits))
    await engine.execute(
        "INSERT INTO aiki.journal (run_id, generation, seq, ok, at_us, key, value)"
        " SELECT %s, 0, n, n %% 100 <> 0, n, 'task:t:' || n || ':1', '{}' FROM generate_series(1, 10000) AS n",
        run_id,
    )
    (feed,) = await follow(app, bus, Seen(run_id))
    assert [one.seq for one in feed.outcomes] == list(range(10_001 - FOLLOWED_CALLS, 10_001))
    assert [one.key for one in feed.open] == ["task:late:0:0"]
    assert (feed.done, feed.failed, feed.journal_seq) == (10_000, 100, 10_000)
    assert len(codec.encode(feed)) < 64 * 1024


async def test_a_run_that_goes_on_as_new_is_told_from_its_beginning(
    app: App, engine: Engine, bus: Connection, heard: Heard
) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, 0, entry("a"), entry("b")))
    await follow(app, bus, Seen(run_id))
    await ask_together(app, bus, ("default", Record([unit(run.fence, 2, end=onward())])))
    await wait_until(lambda: feeds(heard) and feeds(heard)[-1].run.generation == 1)
    again = await engine.claim_one()
    await ask_together(app, bus, ("default", Record([unit(again.fence, 0, entry("c"))])))
    await wait_until(lambda: feeds(heard)[-1].outcomes)
    last = feeds(heard)[-1]
    assert (last.since, last.done, [one.key for one in last.outcomes]) == (0, 1, ["task:c:0:0"])


async def test_a_run_that_is_gone_is_told_of(app: App, engine: Engine, bus: Connection, heard: Heard) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await follow(app, bus, Seen(run_id))
    await engine.record(unit(run.fence, end=completed()))  # by a daemon that is not heard
    await ask_together(app, bus, ("default", Delete([run_id])))
    app.followers.changed("default", [run_id])
    await wait_until(lambda: heard["_INBOX.test.a"])
    assert codec.decode(heard["_INBOX.test.a"][-1], FeedNews) == FeedNews(gone=[run_id])
    assert await follow(app, bus, Seen(run_id)) == []
    assert len(app.followers) == 0


async def test_what_another_daemon_records_is_told_here(
    app: App, second: App, engine: Engine, bus: Connection, heard: Heard
) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    await follow(app, bus, Seen(run_id))
    await ask_together(app, bus, ("default", FollowNamespace("_INBOX.test.ns", 60.0)))
    await bus.flush()
    # That it is followed there has reached the other daemon, before the request does.
    await wait_until(lambda: len(second.news._others) == 2)
    await ask_together(second, bus, ("default", Record([unit(run.fence, 0, entry())])))
    await wait_until(lambda: feeds(heard) and feeds(heard)[-1].journal_seq == 1)
    await ask_together(second, bus, ("default", Send([event(run_id)])))
    await wait_until(lambda: feeds(heard)[-1].run.unread == 1)
    await ask_together(second, bus, ("default", Record([unit(run.fence, 1, end=End(Move.SLEEP, due_at=1 << 52))])))
    await wait_until(lambda: feeds(heard)[-1].run.state is State.SLEEPING)
    assert [(one.key, one.state) for one in feeds(heard)[-1].open] == [(f"until:{1 << 52}", "waiting")]
    await ask_together(second, bus, ("default", Send([event(run_id)])))
    await wait_until(lambda: feeds(heard)[-1].run.unread == 2, 3, what="an event for a run that rests")
    await ask_together(second, bus, ("default", Pause([run_id])))
    await wait_until(lambda: feeds(heard)[-1].run.state is State.PAUSED)

    def paused() -> bool:
        told = [codec.decode(data, SummaryReply) for data in heard["_INBOX.test.ns"]]
        return any(row.state is State.PAUSED for reply in told for row in reply.rows)

    await wait_until(paused)


async def test_nobody_who_follows_costs_nothing(app: App, engine: Engine, alone: Alone, bus: Connection) -> None:
    """No statement, and no word to other daemons, for what is recorded."""
    await engine.queued_run()
    run = await engine.claim_one()
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(message.subject)

    await bus.subscribe("aiki.v1.*.news.>", cb=hear)
    for base in range(5):
        await ask_together(app, bus, ("default", Record([unit(run.fence, base, entry(str(base)))])))
        alone.followers.recorded("default", [run.fence.run_id])
    await bus.flush()
    assert (heard, alone.pool.count) == ([], 0)


async def test_a_follower_hears_nothing_of_another_namespaces_runs(
    app: App, engine: Engine, bus: Connection, heard: Heard
) -> None:
    run_id = await engine.queued_run()
    run = await engine.claim_one()
    follows = Follow([Seen(run_id)], "_INBOX.test.b", 60.0)
    (reply, _) = await ask_together(app, bus, ("theirs", follows), ("theirs", FollowNamespace("_INBOX.test.c", 60.0)))
    assert codec.decode_reply(reply, FollowReply).runs == []
    await follow(app, bus, Seen(run_id))
    await ask_together(app, bus, ("default", Record([unit(run.fence, 0, entry())])))
    await wait_until(lambda: feeds(heard))
    assert heard["_INBOX.test.b"] == heard["_INBOX.test.c"] == []


async def test_the_namespace_is_told_of_twice_a_second_at_most(
    app: App, engine: Engine, bus: Connection, heard: Heard
) -> None:
    for inbox in ("a", "b"):
        await ask_together(app, bus, ("default", FollowNamespace(f"_INBOX.test.{inbox}", 60.0)))
    began = asyncio.get_running_loop().time()
    for _ in range(20):
        await ask_together(app, bus, ("default", Enqueue([new_run()])))
        await asyncio.sleep(0.05)

    def last() -> list[int]:
        return [row.runs for row in codec.decode(heard["_INBOX.test.a"][-1], SummaryReply).rows]

    await wait_until(lambda: heard["_INBOX.test.a"] and last() == [20])
    seconds = asyncio.get_running_loop().time() - began
    assert len(heard["_INBOX.test.a"]) <= 2 * seconds + 2
    assert heard["_INBOX.test.b"][: len(heard["_INBOX.test.a"])] == heard["_INBOX.test.a"]
