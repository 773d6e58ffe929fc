"""What is declared and ordered of schedules, and what their readers are told: on a clock that stands still."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import Conflict, UsageError
from aiki.core.moments import SECOND
from aiki.rules.declaring import GONE
from aiki.rules.scheduling import CHANGED, PAUSED
from aiki.wire.limits import SCHEDULES
from aiki.wire.messages import (
    ApplyReply,
    ApplySchedules,
    ListSchedules,
    NewSchedule,
    NextReply,
    NextSlots,
    OrderSchedules,
    RunOptions,
    SchedulesReply,
)
from aiki.wire.messages.options import FirstEvent
from aikid.engine import schedule_reads, schedules
from tests.integration.daemon.engine import Engine, completed, new_id, running_engine, unit
from tests.integration.daemon.firing import (
    HOUR,
    HOUR_SECONDS,
    Standing,
    backfill,
    declared,
    fire,
    fired,
    info,
    latest,
    put,
    show,
    trigger,
)

pytestmark = pytest.mark.anyio
STARTED = ("started", "")


async def order(engine: Engine, word: Any, *names: str, note: str = "") -> list[str]:
    """Order something of schedules; return what has become of each."""
    request = OrderSchedules(list(names) or ["nightly"], word, note)
    (reply,) = (await schedules.order(engine.pool, engine.namespace, request)).replies
    return [outcome.result for outcome in reply.outcomes]


async def apply(engine: Engine, *declared: NewSchedule, project: str = "shop", **how: Any) -> ApplyReply:
    request = ApplySchedules(project, [replace(one, project=project) for one in declared], **how)
    done = await schedules.apply(engine.pool, engine.routes, engine.namespace, request, room=engine.room)
    (reply,) = done.replies
    if isinstance(reply, Exception):
        raise reply
    return reply


async def listed(engine: Engine, **asked: Any) -> SchedulesReply:
    reply = await schedule_reads.answer(engine.pool, engine.namespace, ListSchedules(**asked), room=engine.room)
    assert isinstance(reply, SchedulesReply)
    return reply


def actions(reply: ApplyReply) -> list[tuple[str, str]]:
    return [(change.name, change.action) for change in reply.changes]


# -- one


async def test_what_is_declared_is_what_is_told(engine: Engine, clock: Standing) -> None:
    options = RunOptions(priority=3, labels={"team": "ops"}, timeout=HOUR)
    schedule = declared(input=Raw(b'{"a":1}'), options=options, cron="0 2 * * *", timezone="Europe/Berlin")
    reply = await put(engine, schedule)
    assert reply.result == "created"
    assert reply.info == await info(engine)
    assert reply.info is not None
    assert reply.info.schedule == schedule
    assert (reply.info.created_at, reply.info.revision, reply.info.next) == (clock.now, 1, clock.now + HOUR)
    assert not reply.info.served
    await engine.session()
    assert (await info(engine)).served


async def test_a_repeat_changes_nothing(engine: Engine, clock: Standing) -> None:
    schedule = declared()
    await put(engine, schedule)
    assert (await put(engine, schedule)).result == "unchanged"
    assert (await put(engine, replace(schedule, id=str(uuid.uuid4())))).result == "unchanged"
    assert (await put(engine, schedule, update=True)).result == "unchanged"
    assert (await info(engine)).revision == 1


async def test_a_late_repeat_of_a_create_undoes_no_change(engine: Engine, clock: Standing) -> None:
    schedule = declared()
    await put(engine, schedule)
    changed = declared(every=2 * HOUR)
    assert (await put(engine, changed, update=True)).result == "updated"
    assert (await put(engine, schedule)).result == "unchanged"
    assert (await info(engine)).schedule.spec.every == 2 * HOUR


async def test_another_of_the_name_is_refused(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    reply = await put(engine, declared(every=2 * HOUR))
    assert (reply.result, "is there already" in reply.reason) == ("exists", True)
    assert (await info(engine)).schedule.spec.every == HOUR


async def test_what_is_not_there_is_not_changed(engine: Engine, clock: Standing) -> None:
    assert (await put(engine, declared(), update=True)).result == "unknown"
    assert (await show(engine)).info is None


async def test_whoever_owns_a_schedule_is_named_to_others(engine: Engine, clock: Standing) -> None:
    await apply(engine, declared())
    reply = await put(engine, declared(every=2 * HOUR), update=True)
    assert (reply.result, reply.reason) == ("exists", "schedule 'nightly' belongs to project 'shop'")
    other = await apply(engine, declared(), project="bank")
    assert [(change.action, change.reason) for change in other.changes] == [("refused", reply.reason)]
    await put(engine, declared("mine"))
    (refused, kept) = (await apply(engine, declared("mine"), declared())).changes
    assert (refused.action, "no project" in refused.reason, kept.action) == ("refused", True, "unchanged")


async def test_an_id_is_one_schedules(engine: Engine, clock: Standing) -> None:
    first = declared()
    await put(engine, first)
    with pytest.raises(Conflict, match="is that of another schedule"):
        await put(engine, declared("other", id=first.id))


async def test_a_change_counts_slots_from_now(engine: Engine, clock: Standing) -> None:
    """Nothing fires because of it: neither of the old slots nor of the new ones that lie behind."""
    await put(engine, declared())
    await clock.go_on(1.5 * HOUR_SECONDS)
    changed = declared(every=HOUR // 4, catch_up="all")
    assert (await put(engine, changed, update=True)).result == "updated"
    assert await fired(engine) == [("missed", CHANGED)]
    told = await info(engine)
    assert (told.revision, told.next, told.schedule.spec) == (2, clock.now + HOUR // 4, changed.spec)
    await clock.go_on(HOUR_SECONDS / 4)
    assert (await fired(engine))[1:] == [STARTED]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a name with a dot": ({"name": "a.b"}, "must be 1 to 64 characters"),
    "a project with a star": ({"project": "*"}, "project name"),
    "no uuid": ({"id": "x"}, "is not a UUID"),
    "no rule": ({"every": None}, "one of cron, every and at"),
    "two rules": ({"every": HOUR, "cron": "* * * * *"}, "one of cron, every and at"),
    "a bad cron": ({"cron": "61 * * * *"}, "61"),
    "a huge cron": ({"cron": ("0," * 500) + "0 * * * *"}, "characters"),
    "an unknown zone": ({"cron": "0 0 * * *", "timezone": "Mars/Base"}, "Mars"),
    "no length": ({"every": 0}, "at least a second"),
    "a negative window": ({"window": -1}, "negative"),
    "a time before 1970": ({"start": -(1 << 60)}, "1970"),
    "a time that is long past": ({"at": 1}, "never fire"),
    "a key": ({"options": RunOptions(key="a")}, "`key`"),
    "a delay": ({"options": RunOptions(delay=1)}, "`delay`"),
    "an event": ({"options": RunOptions(send=FirstEvent("go"))}, "`send`"),
    "a conflict": ({"options": RunOptions(on_conflict="restart")}, "on_conflict"),
    "a bad priority": ({"options": RunOptions(priority=1_000)}, "priority"),
    "a bad version": ({"version": " "}, "version"),
    "no payload": ({"input": Raw(b"")}, "missing"),
    "a huge payload": ({"input": Raw(b'"' + b"x" * 600_000 + b'"')}, "bytes"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_fire_is_refused_and_nothing_is_written(engine: Engine, clock: Standing, what: str) -> None:
    fields, words = REFUSED[what]
    schedule = replace(declared(), **{name: fields[name] for name in fields if name in NewSchedule.__struct_fields__})
    spec = {name: fields[name] for name in fields if name not in NewSchedule.__struct_fields__}
    if spec.keys() & {"cron", "at"} and "every" not in spec:
        spec["every"] = None
    schedule = replace(schedule, spec=replace(schedule.spec, **spec))
    with pytest.raises(UsageError, match=words):
        await put(engine, schedule)
    if schedule.project is None:
        with pytest.raises(UsageError, match=words):
            await apply(engine, schedule)
    assert await engine.execute("SELECT name FROM aiki.schedules") == []


# -- held, and let go on


async def test_a_schedule_that_is_paused_fires_nothing_and_catches_up_with_nothing(
    engine: Engine, clock: Standing
) -> None:
    await put(engine, declared(catch_up="all"))
    assert await order(engine, "pause", note="the press is broken") == ["done"]
    told = await info(engine)
    assert (told.paused, told.note, told.next) == (True, "the press is broken", None)
    await clock.go_on(3.5 * HOUR_SECONDS)
    assert await fired(engine) == []
    assert await order(engine, "resume") == ["done"]
    assert await fired(engine) == [("missed", PAUSED)]
    (row,) = await latest(engine)
    assert (row.count, row.until) == (3, clock.now - HOUR // 2)
    told = await info(engine)
    assert (told.paused, told.note, told.next) == (False, "", clock.now + HOUR // 2)


async def test_who_pauses_again_says_why_it_is_paused_now(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await order(engine, "pause", note="first")
    await order(engine, "pause", note="second")
    assert (await info(engine)).note == "second"


async def test_to_resume_what_goes_on_misses_nothing(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await clock.go_on(HOUR_SECONDS)
    assert await order(engine, "resume") == ["done"]
    assert await fired(engine) == [STARTED]


async def test_a_slot_that_waits_starts_when_its_schedule_goes_on(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="queue"))
    for _ in range(2):
        await clock.go_on(HOUR_SECONDS)
        await fire(engine)
    await order(engine, "pause")
    await engine.record(unit((await engine.claim_one()).fence, end=completed()))
    await clock.go_on(60)
    assert await fired(engine) == [STARTED, ("queued", "")]
    await order(engine, "resume")
    await clock.go_on(1)
    assert await fired(engine) == [STARTED, STARTED]


async def test_a_change_leaves_paused_what_is_paused(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await order(engine, "pause", note="why")
    await put(engine, declared(every=2 * HOUR), update=True)
    told = await info(engine)
    assert (told.paused, told.note) == (True, "why")
    await clock.go_on(2 * HOUR_SECONDS)
    assert await fired(engine) == []


async def test_a_schedule_that_is_deleted_leaves_its_runs(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    assert await order(engine, "delete", "nightly", "other") == ["done", "unknown"]
    assert (await show(engine)).info is None
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    assert len(await engine.claim(await engine.session())) == 1
    assert (await put(engine, declared())).result == "created"
    assert await latest(engine) == []


# -- out of turn


async def test_a_trigger_fires_at_once_whatever_the_schedule_says(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    await order(engine, "pause")
    run_id = new_id()
    (slot,) = (await trigger(engine, id=run_id)).slots
    assert (slot.kind, slot.slot, slot.result, slot.run_id) == ("trigger", clock.now, "started", run_id)
    runs = [run.fired for run in await engine.claim(await engine.session())]
    assert [(fired.kind, fired.slot) for fired in runs if fired] == [("slot", clock.now), ("trigger", clock.now)]
    assert not (await trigger(engine, "other")).known


async def test_a_trigger_is_known_by_its_id(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    run_id = new_id()
    first = await trigger(engine, id=run_id)
    other = await trigger(engine)
    assert other.slots[0].slot == first.slots[0].slot + 1, "two of one moment are two"
    await clock.go_on(60)
    assert await trigger(engine, id=run_id) == first
    assert len(await engine.claim(await engine.session())) == 2


async def test_a_trigger_that_would_be_another_run_has_failed(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    run_id = await engine.queued_run()
    (slot,) = (await trigger(engine, id=run_id)).slots
    assert (slot.result, slot.reason) == ("failed", f"run id {run_id} is in use")


async def test_a_backfill_fires_what_has_no_run_once_each(engine: Engine, clock: Standing) -> None:
    begin = clock.now
    await put(engine, declared(start=begin - 4 * HOUR))
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    span = (begin - 3 * HOUR, clock.now + 3 * HOUR)
    previewed = (await backfill(engine, *span, dry_run=True)).slots
    assert [slot.slot for slot in previewed] == [begin - hours * HOUR for hours in (3, 2, 1, 0)]
    assert [slot.result for slot in await latest(engine)] == ["started"], "a preview fires nothing"
    done = await backfill(engine, *span)
    assert [(slot.slot, slot.kind, slot.result) for slot in done.slots] == [
        (slot.slot, "backfill", "started") for slot in previewed
    ]
    assert await backfill(engine, *span) == done, "a repeat finds the runs of the first"
    assert (await backfill(engine, *span, dry_run=True)).slots == []
    runs = await engine.claim(await engine.session())
    assert len(runs) == 5
    assert not (await backfill(engine, *span, name="other")).known


async def test_a_backfill_waits_its_turn_if_it_is_asked_to(engine: Engine, clock: Standing) -> None:
    begin = clock.now
    await put(engine, declared())
    done = await backfill(engine, begin - 2 * HOUR, begin, overlap="queue")
    assert [slot.result for slot in done.slots] == ["started", "queued"]
    await engine.record(unit((await engine.claim_one()).fence, end=completed()))
    await clock.go_on(1)
    await fire(engine)
    run = await engine.claim_one()
    assert run.fired is not None
    assert (run.fired.kind, run.fired.slot) == ("backfill", begin - HOUR)


async def test_a_slot_that_a_backfill_has_skipped_may_be_filled_by_another(engine: Engine, clock: Standing) -> None:
    begin = clock.now
    await put(engine, declared())
    done = await backfill(engine, begin - 2 * HOUR, begin, overlap="skip")
    assert [slot.result for slot in done.slots] == ["started", "skipped"]
    done = await backfill(engine, begin - 2 * HOUR, begin, overlap="allow")
    assert [slot.result for slot in done.slots] == ["started", "started"]


async def test_a_backfill_is_bounded(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(every=SECOND))
    with pytest.raises(UsageError, match="at most 1,000 slots"):
        await backfill(engine, clock.now - 1_001 * SECOND, clock.now)
    assert len((await backfill(engine, clock.now - 1_000 * SECOND, clock.now)).slots) == 1_000
    await put(engine, declared("large", every=SECOND, input=Raw(b'"' + b"x" * 100_000 + b'"')))
    with pytest.raises(UsageError, match="shorter range"):
        await backfill(engine, clock.now - 100 * SECOND, clock.now, name="large")


# -- all of a project


async def test_an_apply_has_a_projects_schedules_be_just_these(engine: Engine, clock: Standing) -> None:
    await put(engine, declared("mine"))
    plan = await apply(engine, declared("a"), declared("b"), dry_run=True)
    assert (actions(plan), plan.is_done) == ([("a", "create"), ("b", "create")], False)
    assert (await show(engine, "a")).info is None
    assert (await apply(engine, declared("a"), declared("b"))).is_done
    assert actions(await apply(engine, declared("a"), declared("b"))) == [("a", "unchanged"), ("b", "unchanged")]
    changed = await apply(engine, declared("c"), declared("b", every=2 * HOUR, window=HOUR, input=Raw(b"1")))
    assert actions(changed) == [("a", "pause"), ("b", "update"), ("c", "create")]
    assert changed.changes[1].fields == ["payload", "every", "catch_up_window"]
    told = await info(engine, "a")
    assert (told.paused, told.vanished, changed.changes[0].reason) == (True, True, GONE)
    assert not (await info(engine, "mine")).paused


async def test_what_had_vanished_goes_on_when_it_is_named_again(engine: Engine, clock: Standing) -> None:
    await apply(engine, declared("a"), declared("b"))
    await order(engine, "pause", "b", note="by hand")
    await apply(engine)
    assert actions(await apply(engine)) == [("a", "unchanged"), ("b", "unchanged")]
    await clock.go_on(1.5 * HOUR_SECONDS)
    assert actions(await apply(engine, declared("a"))) == [("a", "update"), ("b", "unchanged")]
    told = await info(engine, "a")
    assert (told.paused, told.vanished, told.next) == (False, False, clock.now + HOUR // 2)
    assert await fired(engine, "a") == [("missed", PAUSED)]


async def test_what_a_person_has_paused_stays_so_though_it_vanishes_and_comes_back(
    engine: Engine, clock: Standing
) -> None:
    await apply(engine, declared("a"))
    await order(engine, "pause", "a", note="by hand")
    await apply(engine)
    await apply(engine, declared("a"))
    told = await info(engine, "a")
    assert (told.paused, told.vanished, told.note) == (True, False, "by hand")


async def test_what_vanished_is_deleted_if_that_is_wanted(engine: Engine, clock: Standing) -> None:
    await apply(engine, declared("a"), declared("b"))
    assert actions(await apply(engine, declared("b"), prune=True)) == [("a", "delete"), ("b", "unchanged")]
    assert (await show(engine, "a")).info is None


async def test_an_apply_does_all_or_nothing(engine: Engine, clock: Standing) -> None:
    await put(engine, declared("theirs"))
    refused = await apply(engine, declared("a"), declared("theirs"))
    assert (actions(refused), refused.is_done) == ([("a", "create"), ("theirs", "refused")], False)
    assert (await show(engine, "a")).info is None


async def test_an_apply_takes_as_many_as_a_manifest_has(engine: Engine, clock: Standing) -> None:
    many = [declared(f"s-{number:04}") for number in range(SCHEDULES)]
    assert (await apply(engine, *many)).is_done
    page = await listed(engine)
    assert ([one.schedule.name for one in page.schedules], page.more) == ([one.name for one in many], False)
    assert [one.action for one in (await apply(engine)).changes] == ["pause"] * SCHEDULES


# -- readers


async def test_schedules_are_listed_by_name_in_pages_that_fit(engine: Engine, clock: Standing) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        await put(engine, declared(name, input=Raw(b'"' + b"x" * 200_000 + b'"')))
    await apply(engine, declared("e"))
    found: list[str] = []
    more = True
    while more:
        page = await listed(engine, after=found[-1] if found else "")
        found += [one.schedule.name for one in page.schedules]
        more = page.more
    assert found == [*names, "e"]
    assert [one.schedule.name for one in (await listed(engine, project="shop")).schedules] == ["e"]
    assert [one.schedule.name for one in (await listed(engine, limit=2)).schedules] == ["a", "b"]


async def test_the_next_slots_are_told_also_of_what_is_paused(engine: Engine, clock: Standing) -> None:
    await put(engine, declared(jitter=HOUR))
    await order(engine, "pause")
    reply = await schedule_reads.answer(engine.pool, engine.namespace, NextSlots("nightly", 3), room=engine.room)
    assert isinstance(reply, NextReply)
    assert [slot for slot, _ in reply.slots] == [clock.now + n * HOUR for n in (1, 2, 3)]
    assert all(slot <= fires < slot + HOUR for slot, fires in reply.slots)
    unknown = await schedule_reads.answer(engine.pool, engine.namespace, NextSlots("other"), room=engine.room)
    assert unknown == NextReply(known=False)


async def test_schedules_of_other_namespaces_are_invisible_and_out_of_reach(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    async with running_engine(engine.database, "other") as other:
        assert (await show(other)).info is None
        assert (await listed(other)).schedules == []
        assert await order(other, "delete", "nightly") == ["unknown"]
        assert not (await trigger(other)).known
        assert (await put(other, declared(), update=True)).result == "unknown"
        assert actions(await apply(other)) == []
        assert (await put(other, declared(every=2 * HOUR))).result == "created"
    assert (await info(engine)).schedule.spec.every == HOUR
