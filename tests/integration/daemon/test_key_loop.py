"""A whole daemon tells those who wait for keys of tasks: at once of what it did itself, and soon of all else."""

from __future__ import annotations

import pytest
from nats.aio.client import Client as Connection

from aiki.core.states import Move
from aiki.rules.sharing import TOLD
from aiki.wire.messages import Cancel, Claimed, End, Record, Unit
from aikid.app import App
from aikid.engine import key_lines
from aikid.loops.keys import Keys
from aikid.store.task_keys import KeyId
from aikid.tell import lines
from aikid.tell.lines import UNWAITED_SECONDS, WAITED_SECONDS, Lines
from tests.integration.daemon.asking import ask_together, running_app
from tests.integration.daemon.costing import CountedPool
from tests.integration.daemon.engine import Engine, completed, new_run, unit
from tests.integration.daemon.keyed import (
    CALL,
    DIGEST,
    KEY,
    ask,
    asked,
    asking,
    ending,
    held,
    owner,
    waiters,
    waiting,
    words,
)
from tests.servers import Nats
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def leisurely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a daemon look when it has heard of something, and once at its start."""
    monkeypatch.setattr(lines, "WAITED_SECONDS", 3_600.0)
    monkeypatch.setattr(lines, "UNWAITED_SECONDS", 3_600.0)


async def told_soon(engine: Engine, run: Claimed) -> None:
    async def is_told() -> bool:
        return await words(engine, run) == [("key", CALL)]

    await wait_until(is_told, what="it is told of its key")


async def recorded(app: App, bus: Connection, *units: Unit) -> None:
    await ask_together(app, bus, *(("default", Record([one])) for one in units))


@pytest.mark.usefixtures("leisurely")
@pytest.mark.parametrize("how", ["done", "free", "fails", "drains", "cancelled"])
async def test_whatever_a_daemon_does_to_an_owner_whoever_waits_is_told_at_once(
    app: App, engine: Engine, bus: Connection, how: str
) -> None:
    run, other = await owner(engine), await held(engine)
    await recorded(app, bus, asking(other))
    match how:
        case "done":
            await recorded(app, bus, ending(run))
        case "free":
            await recorded(app, bus, asking(run, ask("free")))
        case "fails":
            await recorded(app, bus, unit(run.fence, end=completed()))
        case "drains":
            await recorded(app, bus, unit(run.fence, end=End(Move.RELEASE)))
        case _:
            await ask_together(app, bus, ("default", Cancel([run.fence.run_id], force=True)))
    await told_soon(engine, other)


@pytest.mark.usefixtures("leisurely")
async def test_a_daemon_has_those_told_who_asked_another_daemon(app: App, engine: Engine, bus: Connection) -> None:
    run, other = await owner(engine), await waiting(engine)
    await recorded(app, bus, ending(run))
    await told_soon(engine, other)


async def test_what_frees_a_key_by_itself_is_found_within_a_second_by_who_knows_that_somebody_waits(
    app: App, engine: Engine, bus: Connection
) -> None:
    run, other = await owner(engine), await held(engine)
    await recorded(app, bus, asking(other))
    await engine.results(unit(run.fence, end=End(Move.RELEASE)))
    await told_soon(engine, other)


@pytest.mark.usefixtures("leisurely")
async def test_a_daemon_finds_at_its_start_who_waits(engine: Engine, nats: Nats) -> None:
    run, other = await owner(engine), await waiting(engine)
    await engine.results(unit(run.fence, end=End(Move.RELEASE)))
    async with running_app(engine.database, nats.url):
        await told_soon(engine, other)


async def test_a_worker_that_died_leaves_its_keys_to_those_who_wait(app: App, engine: Engine, bus: Connection) -> None:
    session = await engine.session(ttl=1.0)
    run, other = await held(engine, session), await held(engine)
    assert (await asked(engine, run)).result == "won"
    await recorded(app, bus, asking(other))
    await told_soon(engine, other)
    assert (await asked(engine, other)).result == "won"


async def test_a_look_while_nobody_waits_is_one_statement_a_minute(app: App, engine: Engine) -> None:
    await owner(engine)
    pool, own = CountedPool(engine.database), Lines()
    looker = Keys(pool, app.teller, own)
    assert (looker.every_seconds, own.are_any) == (UNWAITED_SECONDS, False)
    await looker.run_once()
    assert (pool.count, looker.every_seconds) == (1, UNWAITED_SECONDS)
    other = await waiting(engine)
    await looker.run_once()
    assert (pool.count, looker.every_seconds) == (2, WAITED_SECONDS)
    assert (await asked(engine, other, ask("free"))).result == "taken"
    await looker.run_once()
    assert (pool.count, looker.every_seconds) == (3, UNWAITED_SECONDS)
    await pool.aclose()


async def test_what_is_heard_of_during_a_look_is_not_forgotten_by_it() -> None:
    own = Lines()
    own.take()
    own.begun()
    own.looked(found=False)
    assert own.are_any
    assert own.take() == []
    own.looked(found=False)
    assert not own.are_any
    own.over([KEY, KeyId("a", "", "b", "c"), KEY])
    assert own.take() == [KeyId("a", "", "b", "c"), KEY]
    assert (own.take(), own.are_any) == ([], True)


DONE = """
WITH key AS (
  INSERT INTO aiki.task_keys (namespace, scope, task, key, run_id, generation, epoch, call, digest, done_at, expires_at,
    value)
  SELECT 'default', '', 'charge', 'k', r.id, 0, 1, %s, %s, now(), now() + interval '1 hour', '1'
  FROM aiki.runs r LIMIT 1
)
INSERT INTO aiki.task_key_waiters (namespace, scope, task, key, run_id, generation, call)
SELECT 'default', '', 'charge', 'k', r.id, 0, %s FROM aiki.runs r
"""


@pytest.mark.usefixtures("leisurely")
async def test_more_who_wait_for_the_first_key_than_one_look_tells_are_told_without_a_rest(
    database: str, nats: Nats, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that has ended their key, and died, leaves all of them to a look of another."""
    monkeypatch.setattr(key_lines, "STEPS", 1)
    await engine.enqueue(*(new_run() for _ in range(2 * TOLD + 1)))
    await engine.execute(DONE, CALL, DIGEST, CALL)
    async with running_app(database, nats.url):

        async def are_told() -> bool:
            return all(told for _, told in await waiters(engine))

        await wait_until(are_told, what="all are told")
