"""How much one commit does of schedules is bounded, however much there is to do."""

from __future__ import annotations

import pytest
from msgspec import Raw

from aiki.core.moments import SECOND
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import OrderSchedules
from aikid.engine import firing, schedules
from aikid.engine.standing import BYTES
from tests.integration.daemon.engine import Engine
from tests.integration.daemon.firing import HOUR_SECONDS, Standing, declared, fire, put

pytestmark = pytest.mark.anyio


async def test_a_long_outage_is_caught_up_with_some_at_a_time(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(every=60 * SECOND, catch_up="all", overlap="allow"))
    await clock.go_on(4 * HOUR_SECONDS)
    for _ in range(3):
        await fire(engine)
    assert (await engine.execute("SELECT count(*), count(DISTINCT run_id) FROM aiki.slots")) == [(240, 240)]
    assert (await engine.execute("SELECT count(*) FROM aiki.runs")) == [(240,)]


async def test_what_takes_long_to_decide_is_decided_in_several_commits(
    engine: Engine, clock: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "_DECIDING_SECONDS", 0.0)
    for name in "abc":
        await put(engine, declared(name=name))
    await clock.go_on(HOUR_SECONDS)
    commits = [changes async for changes in firing.fire_due(engine.pool, room=engine.room)]
    assert [sum(changes.queued.values()) for changes in commits if changes.queued] == [1, 1, 1]


async def test_one_commit_enqueues_as_many_runs_as_one_request_may(engine: Engine, clock: Standing) -> None:
    for number in range(11):
        await put(engine, declared(f"s-{number}", every=36 * SECOND, catch_up="all", overlap="allow"))
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    made = await engine.execute("SELECT count(*) FROM aiki.runs GROUP BY xmin::text")
    assert max(count for (count,) in made) <= BATCH_RUNS
    assert sum(count for (count,) in made) == 1_100


async def test_one_commit_enqueues_no_more_bytes_than_a_batch_of_schedules_has(engine: Engine, clock: Standing) -> None:
    large = Raw(b'"' + b"x" * 250_000 + b'"')
    await put(engine, declared(every=60 * SECOND, catch_up="all", overlap="allow", input=large))
    await clock.go_on(HOUR_SECONDS)
    for _ in range(2):
        await fire(engine)
    made = await engine.execute("SELECT count(*), sum(octet_length(input)) FROM aiki.runs GROUP BY xmin::text")
    assert max(size for _, size in made) <= BYTES
    assert sum(count for count, _ in made) == 60


async def test_an_order_to_many_is_carried_out_a_few_in_a_commit(engine: Engine, clock: Standing) -> None:
    names = [f"s{number:02}" for number in range(25)]
    for name in names:
        await put(engine, declared(name=name))
    order = OrderSchedules([*names, "nobody", names[0]], "pause")
    (reply,) = (await schedules.order(engine.pool, engine.namespace, order)).replies
    assert [one.result for one in reply.outcomes] == [*["done"] * 25, "unknown", "done"]
    commits = await engine.execute("SELECT count(DISTINCT xmin::text) FROM aiki.schedules WHERE paused")
    assert commits == [(2,)]


async def test_a_delete_of_many_is_carried_out_whole_or_not_at_all(engine: Engine, clock: Standing) -> None:
    names = [f"s{number:02}" for number in range(25)]
    for name in names:
        await put(engine, declared(name=name))
    refuse = "CREATE FUNCTION aiki.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$"
    await engine.execute(refuse)
    await engine.execute(
        "CREATE TRIGGER refuse BEFORE DELETE ON aiki.schedules FOR EACH ROW WHEN (OLD.name = 's24')"
        " EXECUTE FUNCTION aiki.refuse()"
    )
    with pytest.raises(Exception, match="no"):
        await schedules.order(engine.pool, engine.namespace, OrderSchedules(names, "delete"))
    assert await engine.execute("SELECT count(*) FROM aiki.schedules") == [(25,)]
