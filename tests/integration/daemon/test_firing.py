"""What becomes of the slots of a schedule, as its rules say, and of their runs: on a clock that stands still."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw

from aiki.core.moments import SECOND
from aiki.core.states import State
from aiki.rules.scheduling import FULL, LATE, OLD, OPEN, REPLACED
from aiki.wire.limits import QUEUED_SLOTS
from aiki.wire.messages import Claimed, RunOptions
from aikid.engine import firing
from aikid.store.slots import JUDGED
from tests.integration.daemon.engine import Engine, completed, parked, unit
from tests.integration.daemon.family import CHILD, start, starting
from tests.integration.daemon.firing import (
    HOUR,
    HOUR_SECONDS,
    Standing,
    declared,
    fire,
    fired,
    info,
    latest,
    put,
)
from tests.integration.daemon.retrying import failed, retried

pytestmark = pytest.mark.anyio
STARTED, QUEUED, SKIPPED = ("started", ""), ("queued", ""), ("skipped", OPEN)


async def next_slot(clock: Standing) -> int:
    """Go on to the next slot, and return it."""
    return await clock.go_on(HOUR_SECONDS)


async def claimed(engine: Engine) -> Claimed:
    """Return the run of the slot that was fired last, under a claim."""
    return await engine.claim_one()


async def over(engine: Engine) -> Claimed:
    """Claim the next run of all that are queued, and complete it."""
    run = await claimed(engine)
    assert await engine.results(unit(run.fence, end=completed())) == ["done"]
    return run


async def test_each_slot_is_a_run_and_each_run_knows_its_slot(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="allow", options=RunOptions(priority=7, labels={"team": "ops"})))
    assert await fired(engine) == [], "nothing fires when it is made"
    first = await next_slot(clock)
    changes = await fire(engine)
    assert sum(changes.queued.values()) == sum(changes.woken.values()) == 1
    second = await next_slot(clock)
    assert await fired(engine) == [STARTED, STARTED]
    assert await fired(engine) == [STARTED, STARTED], "a slot is fired once"
    slots = await latest(engine)
    assert [slot.slot for slot in slots] == [first, second]
    runs = await engine.claim(await engine.session())
    assert [run.fence.run_id for run in runs] == [slot.run_id for slot in slots]
    assert [(run.fired.slot, run.fired.schedule) for run in runs if run.fired] == [
        (first, "nightly"),
        (second, "nightly"),
    ]
    assert {(run.priority, run.labels["team"]) for run in runs} == {(7, "ops")}


async def test_a_run_knows_the_greatest_slot_that_has_completed(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="allow"))
    first = await next_slot(clock)
    await fire(engine)
    await next_slot(clock)
    await fire(engine)
    runs = [await claimed(engine), await claimed(engine)]
    assert [run.fired.last_completed for run in runs if run.fired] == [None, None]
    await engine.record(unit(runs[0].fence, end=completed()), unit(runs[1].fence, end=failed()))
    assert (await info(engine)).last_completed == first
    await next_slot(clock)
    await fire(engine)
    run = await claimed(engine)
    assert run.fired is not None
    assert run.fired.last_completed == first
    assert await engine.execute("SELECT last_completed_us FROM aiki.schedules") == [(first,)]


@pytest.mark.parametrize(
    ("overlap", "meanwhile", "afterwards"),
    [
        ("skip", [STARTED, SKIPPED], [STARTED, SKIPPED]),
        ("queue", [STARTED, QUEUED], [STARTED, STARTED]),
        ("cancel_previous", [STARTED, QUEUED], [STARTED, STARTED]),
        ("allow", [STARTED, STARTED], [STARTED, STARTED]),
    ],
)
async def test_a_slot_meets_the_run_before(
    engine: Engine, clock: Standing, overlap: str, meanwhile: list[tuple[str, str]], afterwards: list[tuple[str, str]]
) -> None:
    await put(engine, declared(overlap=overlap))
    await next_slot(clock)
    await fire(engine)
    run = await claimed(engine)
    await next_slot(clock)
    assert await fired(engine) == meanwhile
    await clock.go_on(1)
    assert await fired(engine) == meanwhile
    await engine.record(unit(run.fence, end=completed()))
    await clock.go_on(1)
    assert await fired(engine) == afterwards


async def test_the_runs_before_are_cancelled_as_by_a_person(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="cancel_previous"))
    await next_slot(clock)
    await fire(engine)
    run = await claimed(engine)
    await next_slot(clock)
    changes = await fire(engine)
    assert [told for told, *_ in changes.told.values()] == [(run.fence.run_id, 1)]
    status = await engine.status(run.fence.run_id)
    assert status.cancel is not None
    assert status.cancel.actor == "schedule nightly"
    third = await next_slot(clock)
    changes = await fire(engine)
    assert not changes.told, "who was cancelled is not told again"
    slots = await latest(engine)
    assert [(slot.result, slot.reason) for slot in slots] == [STARTED, ("skipped", REPLACED), QUEUED]
    assert slots[-1].slot == third


async def test_a_run_that_has_not_begun_makes_way_at_once(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="cancel_previous"))
    await next_slot(clock)
    await fire(engine)
    await next_slot(clock)
    await fire(engine)
    (first, _) = await latest(engine)
    assert first.state is State.CANCELLED
    await clock.go_on(1)
    assert await fired(engine) == [STARTED, STARTED]


async def test_an_unfinished_retry_is_its_slots_run(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await next_slot(clock)
    await fire(engine)
    run = await claimed(engine)
    await engine.record(unit(run.fence, end=failed()))
    await retried(engine, run.fence.run_id)
    await next_slot(clock)
    assert await fired(engine) == [STARTED, SKIPPED]
    await over(engine)
    await next_slot(clock)
    assert await fired(engine) == [STARTED, SKIPPED, STARTED]


async def test_a_retry_of_what_was_over_is_its_slots_run_again(engine: Engine, clock: Standing) -> None:
    """The slot was found to be over before the retry was ordered."""
    await put(engine, declared())
    first = await next_slot(clock)
    await fire(engine)
    run = await claimed(engine)
    await engine.record(unit(run.fence, end=failed()))
    await next_slot(clock)
    await fire(engine)
    second = await over(engine)
    assert second.fired is not None
    await clock.go_on(60)
    await engine.execute("UPDATE aiki.schedules SET due_at = aiki.now()")
    await fire(engine)
    assert (await info(engine)).open == 0
    await retried(engine, run.fence.run_id)
    assert (await info(engine)).open == 1
    await next_slot(clock)
    assert await fired(engine) == [STARTED, STARTED, SKIPPED]
    await over(engine)
    assert (await info(engine)).last_completed == second.fired.slot > first


async def test_a_run_that_its_run_has_started_keeps_its_slot_open(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await next_slot(clock)
    await fire(engine)
    run = await claimed(engine)
    child = start(parent_close="abandon")
    assert await engine.results(starting(run, child)) == ["done"]
    assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]
    slot = await next_slot(clock)
    assert await fired(engine) == [STARTED, SKIPPED]
    assert (await info(engine)).last_completed == slot - HOUR, "though that has completed"
    await over(engine)
    await next_slot(clock)
    assert await fired(engine) == [STARTED, SKIPPED, STARTED]


async def test_what_rests_is_open(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await next_slot(clock)
    await fire(engine)
    run = await claimed(engine)
    await engine.record(unit(run.fence, end=parked(0, CHILD)))
    await engine.execute("UPDATE aiki.runs SET state = 'blocked'")
    await next_slot(clock)
    assert await fired(engine) == [STARTED, SKIPPED]


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("none", [("missed", LATE.format("none"), 4)]),
        ("latest", [("missed", LATE.format("latest"), 3), ("started", "", 1)]),
        ("all", [("started", "", 1)] * 4),
    ],
)
async def test_an_outage_is_caught_up_with_as_the_schedule_says(
    engine: Engine, clock: Standing, catch_up: str, expected: list[tuple[str, str, int]]
) -> None:
    """For two hours and a quarter, of a schedule that fires every half an hour."""
    await put(engine, declared(every=HOUR // 2, catch_up=catch_up, overlap="allow"))
    await clock.go_on(2.25 * HOUR_SECONDS)
    await fire(engine)
    slots = await latest(engine)
    assert [(slot.result, slot.reason, slot.count) for slot in slots] == expected
    await clock.go_on(HOUR_SECONDS / 4)
    assert (await fired(engine))[-1] == STARTED, "and goes on"
    assert len(await latest(engine)) == len(expected) + 1


async def test_what_is_older_than_the_window_is_missed(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(catch_up="all", window=HOUR, overlap="allow"))
    await clock.go_on(3.5 * HOUR_SECONDS)
    assert await fired(engine) == [("missed", OLD), STARTED]


async def test_as_many_slots_wait_as_may(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(every=60 * SECOND, catch_up="all", overlap="queue"))
    await clock.go_on(60)
    await fire(engine)
    run = await claimed(engine)
    await clock.go_on((QUEUED_SLOTS + 3) * 60)
    for _ in range(3):
        await fire(engine)
    counts = dict(
        await engine.execute("SELECT result || ' ' || coalesce(reason, ''), count(*) FROM aiki.slots GROUP BY 1")
    )
    assert counts == {"started ": 1, "queued ": QUEUED_SLOTS, f"skipped {FULL}": 3}
    await engine.record(unit(run.fence, end=completed()))
    await clock.go_on(1)
    await fire(engine)
    assert (await info(engine)).queued == QUEUED_SLOTS - 1


async def test_of_very_many_runs_that_go_on_some_are_looked_at_each_time(engine: Engine, clock: Standing) -> None:
    """And a change to `skip` finds that one goes on."""
    schedule = declared(every=60 * SECOND, catch_up="all", overlap="allow")
    await put(engine, schedule)
    count = JUDGED + 50
    await clock.go_on(count * 60)
    for _ in range(3):
        await fire(engine)
    await engine.execute(
        "UPDATE aiki.runs SET state = 'completed' WHERE id <> (SELECT run_id FROM aiki.slots"
        " ORDER BY slot_us OFFSET 20 LIMIT 1)"
    )
    await put(engine, declared(every=60 * SECOND, id=schedule.id), update=True)
    await clock.go_on(60)
    await fire(engine)
    assert (await latest(engine))[-1].result == "skipped"
    for _ in range(3):
        await clock.go_on(60)
        await fire(engine)
    assert (await engine.execute("SELECT count(*) FROM aiki.slots WHERE is_open")) == [(1,)]


async def test_a_slot_whose_run_is_refused_has_failed_and_is_not_tried_again(engine: Engine, clock: Standing) -> None:
    """NATS takes less than when the schedule was made."""
    await put(engine, declared(input=Raw(b'"' + b"x" * 100_000 + b'"')))
    await put(engine, declared("small"))
    engine.room = 64 * 1024
    await next_slot(clock)
    assert [result for result, _ in await fired(engine)] == ["failed"]
    ((_, reason),) = await fired(engine)
    assert "100,002 bytes" in reason
    assert await fired(engine, "small") == [STARTED]
    engine.room *= 8
    await next_slot(clock)
    assert [result for result, _ in await fired(engine)] == ["failed", "started"]


async def test_a_value_that_postgres_refuses_fails_its_own_slot_alone(engine: Engine, clock: Standing) -> None:
    for name in ("a", "b", "c"):
        await put(engine, declared(name))
    await engine.execute("UPDATE aiki.schedules SET workflow = 'bad' WHERE name = 'b'")
    await engine.execute("ALTER TABLE aiki.runs ADD CHECK (workflow <> 'bad')")
    await next_slot(clock)
    await fire(engine)
    found = {name: [slot.result for slot in await latest(engine, name)] for name in ("a", "b", "c")}
    assert found == {"a": ["started"], "b": ["failed"], "c": ["started"]}


@pytest.mark.parametrize(
    "spoil",
    [
        """UPDATE aiki.schedules SET spec = '{"every":1000000,"overlap":"newer"}'::bytea WHERE name = 'b'""",
        "ALTER TABLE aiki.slots ADD CHECK (mod(slot_us, 2) = 0)",
    ],
    ids=["its declaration", "its slot"],
)
async def test_what_cannot_even_be_said_to_have_failed_holds_no_other_up_and_is_looked_at_later(
    engine: Engine, clock: Standing, caplog: pytest.LogCaptureFixture, spoil: str
) -> None:
    even = clock.now // 2 * 2
    for name, anchor in (("a", even), ("b", even + 1), ("c", even)):
        await put(engine, declared(name, anchor=anchor))
    await engine.execute(spoil)
    await clock.go_on(HOUR_SECONDS + 1)
    await asyncio.wait_for(fire(engine), 10)
    assert await engine.execute("SELECT count(*) FROM aiki.slots WHERE result = 'started'") == [(2,)]
    assert "cannot be fired here" in caplog.text
    ((seconds,),) = await engine.execute(
        "SELECT extract(epoch FROM due_at - aiki.now())::int FROM aiki.schedules WHERE name = 'b'"
    )
    assert seconds == 60


async def test_a_run_that_has_a_slots_id_already_is_not_taken_for_its_own(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="allow"))
    await next_slot(clock)
    await fire(engine)
    (slot,) = await latest(engine)
    await engine.execute("DELETE FROM aiki.slots")
    await engine.execute("UPDATE aiki.schedules SET decided_us = decided_us - 1, due_at = aiki.now()")
    assert await fired(engine) == [("failed", f"run id {slot.run_id} is in use")]


async def test_the_clock_goes_back_and_nothing_fires_twice(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="allow"))
    await next_slot(clock)
    await fire(engine)
    await clock.go_on(-1.5 * HOUR_SECONDS)
    await engine.execute("UPDATE aiki.schedules SET due_at = aiki.now()")
    assert await fired(engine) == [STARTED]
    await clock.go_on(1.75 * HOUR_SECONDS)
    assert await fired(engine) == [STARTED]
    await clock.go_on(HOUR_SECONDS)
    assert await fired(engine) == [STARTED, STARTED]


async def test_what_was_decided_by_other_zone_data_is_looked_at_anew_when_a_daemon_starts(
    engine: Engine, clock: Standing
) -> None:
    """By the data of before its clocks were an hour ahead, so that the date of the next look is an hour late."""
    await put(engine, declared(cron="0 2 * * *", timezone="Europe/Berlin"))
    await put(engine, declared("other", cron="0 2 * * *", timezone="Europe/Berlin"))
    await engine.execute(
        "UPDATE aiki.schedules SET zones = '1999z ' || split_part(zones, ' ', 2), due_at = due_at + interval '1 h'"
        " WHERE name = 'nightly'"
    )
    await firing.renew_zones(engine.pool)
    assert await fired(engine) == []
    rows = await engine.execute("SELECT zones, due_at FROM aiki.schedules")
    assert len(set(rows)) == 1, "all are as this daemon's data says"
    await next_slot(clock)
    assert await fired(engine) == [STARTED]


async def test_a_slot_that_waits_goes_on_though_the_clock_was_set_back(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="queue"))
    await next_slot(clock)
    await fire(engine)
    run = await claimed(engine)
    await next_slot(clock)
    assert await fired(engine) == [STARTED, QUEUED]
    await clock.go_on(-HOUR_SECONDS)
    await engine.record(unit(run.fence, end=completed()))
    await firing.look_at_waiting(engine.pool)
    assert await fired(engine) == [STARTED, STARTED]
    await firing.look_at_waiting(engine.pool)
    assert await fired(engine) == [STARTED, STARTED]


async def test_jitter_fires_a_slot_later_and_it_stays_that_slot(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(jitter=HOUR // 2))
    slot = await next_slot(clock)
    ((due,),) = await engine.execute("SELECT extract(epoch FROM due_at - aiki.now())::float8 FROM aiki.schedules")
    assert 0 < due < HOUR_SECONDS / 2
    await clock.go_on(due - 0.001)
    assert await fired(engine) == []
    await clock.go_on(0.001)
    assert await fired(engine) == [STARTED]
    assert [one.slot for one in await latest(engine)] == [slot]


async def test_a_schedule_whose_zone_is_unknown_here_waits_for_another_daemon(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await put(engine, declared("other"))
    await engine.execute("""UPDATE aiki.schedules SET spec = '{"cron":"0 * * * *","timezone":"Mars/Base"}'
      WHERE name = 'nightly'""")
    await next_slot(clock)
    assert await fired(engine, "other") == [STARTED]
    assert (await info(engine)).next is None
    ((is_later,), _) = await engine.execute(
        "SELECT due_at = aiki.now() + interval '1 minute' FROM aiki.schedules ORDER BY name"
    )
    assert is_later
