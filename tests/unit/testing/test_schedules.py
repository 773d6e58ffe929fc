"""How schedules fire on the engine in memory, as its clock goes."""

from __future__ import annotations

import uuid

import pytest
from msgspec import Raw

from aiki.core.errors import UsageError
from aiki.core.moments import SECOND
from aiki.core.states import Move, State
from aiki.rules.scheduling import OPEN, PAUSED
from aiki.testing.engine import Engine
from aiki.wire.messages import (
    ApplySchedules,
    BackfillSchedule,
    Cancel,
    End,
    ListSchedules,
    NewSchedule,
    NextSlots,
    OrderSchedules,
    PutSchedule,
    Retry,
    ScheduleInfo,
    ShowSchedule,
    Slot,
    Spec,
    TriggerSchedule,
    Unit,
)
from tests.unit.testing.asking import NOW, ROUTE, Clock, claimed, recorded, session, status

MINUTE = 60 * SECOND
FIRST = NOW // MINUTE * MINUTE + MINUTE


def schedule(name: str = "pulse", project: str | None = None, **spec) -> NewSchedule:
    made = Spec(**({"every": MINUTE} | spec))
    return NewSchedule(str(uuid.uuid4()), name, *ROUTE, Raw(b"{}"), made, project=project)


class House:
    """An engine with one schedule, and the clock that a test moves."""

    def __init__(self, **spec) -> None:
        self.clock = Clock()
        self.engine = Engine(self.clock)
        self.schedule = schedule(**spec)
        assert self.engine.answer(PutSchedule(self.schedule)).result == "created"
        self.worker = session(self.engine)

    def pass_until(self, time: int) -> None:
        """Move the clock from due time to due time."""
        while (due_at := self.engine.due_at()) is not None and due_at <= time:
            self.clock.now = max(due_at, self.clock.now)
            self.engine.pass_time()
        self.clock.now = time

    def complete(self) -> None:
        (run,) = claimed(self.engine, self.worker)
        recorded(self.engine, Unit(run.fence, 0, [], [], End(Move.COMPLETE, output=Raw(b"1"))))

    @property
    def info(self) -> ScheduleInfo:
        info = self.engine.answer(ShowSchedule("pulse")).info
        assert info is not None
        return info

    @property
    def slots(self) -> list[tuple[int, str, str]]:
        """What became of slots, the oldest first, as minutes behind the first one."""
        return [_told(slot) for slot in reversed(self.engine.answer(ShowSchedule("pulse")).slots)]


def _told(slot: Slot) -> tuple[int, str, str]:
    return (slot.slot - FIRST) // MINUTE, slot.result, slot.reason


def test_each_slot_is_a_run_that_knows_it() -> None:
    house = House()
    for minute in range(3):
        house.pass_until(FIRST + minute * MINUTE)
        (run,) = claimed(house.engine, house.worker)
        assert run.fired is not None
        expected = None if minute == 0 else FIRST + (minute - 1) * MINUTE
        assert (run.fired.slot, run.fired.last_completed) == (FIRST + minute * MINUTE, expected)
        recorded(house.engine, Unit(run.fence, 0, [], [], End(Move.COMPLETE)))
    assert house.slots == [(0, "started", ""), (1, "started", ""), (2, "started", "")]
    assert (house.info.last_completed, house.info.open) == (FIRST + 2 * MINUTE, 0)


def test_a_slot_is_skipped_while_the_one_before_goes_on() -> None:
    house = House()
    house.pass_until(FIRST + MINUTE)
    assert house.slots == [(0, "started", ""), (1, "skipped", OPEN)]
    house.complete()
    house.pass_until(FIRST + 2 * MINUTE)
    assert house.slots[-1] == (2, "started", "")


def test_queued_slots_start_one_after_the_other() -> None:
    house = House(overlap="queue")
    house.pass_until(FIRST + 2 * MINUTE)
    assert [result for _, result, _ in house.slots] == ["started", "queued", "queued"]
    house.complete()
    house.pass_until(FIRST + 2 * MINUTE + 2 * SECOND)
    assert [(minute, result) for minute, result, _ in sorted(house.slots)] == [
        (0, "started"),
        (1, "started"),
        (2, "queued"),
    ]


def test_the_run_before_is_cancelled_where_that_is_wanted() -> None:
    house = House(overlap="cancel_previous")
    house.pass_until(FIRST)
    (run,) = claimed(house.engine, house.worker)
    house.pass_until(FIRST + MINUTE)
    cancelled = status(house.engine, run.fence.run_id).cancel
    assert cancelled is not None
    assert cancelled.actor == "schedule pulse"
    recorded(house.engine, Unit(run.fence, 0, [], [], End(Move.CANCEL)))
    house.pass_until(FIRST + MINUTE + 2 * SECOND)
    assert [(minute, result) for minute, result, _ in sorted(house.slots)] == [(0, "started"), (1, "started")]


def test_a_paused_schedule_fires_nothing_and_goes_on_from_now() -> None:
    house = House()
    house.engine.answer(OrderSchedules(["pulse"], "pause", note="closed"))
    assert (house.engine.due_at(), house.info.paused, house.info.note) == (None, True, "closed")
    house.pass_until(FIRST + 2 * MINUTE + 1)
    house.engine.answer(OrderSchedules(["pulse"], "resume"))
    house.pass_until(FIRST + 3 * MINUTE)
    assert house.slots == [(0, "missed", PAUSED), (3, "started", "")]


def test_a_trigger_fires_once_whatever_goes_on() -> None:
    house = House()
    house.pass_until(FIRST)
    id = str(uuid.uuid4())
    (first,) = house.engine.answer(TriggerSchedule("pulse", id)).slots
    assert house.engine.answer(TriggerSchedule("pulse", id)).slots == [first]
    assert (first.kind, first.run_id, first.state) == ("trigger", id, State.QUEUED)
    assert not house.engine.answer(TriggerSchedule("none", id)).known


def test_a_backfill_fires_what_lies_behind_and_has_no_run() -> None:
    house = House()
    request = BackfillSchedule("pulse", FIRST - 3 * MINUTE, FIRST)
    planned = house.engine.answer(BackfillSchedule("pulse", request.start, request.end, dry_run=True))
    assert [slot.result for slot in planned.slots] == ["started"] * 3
    assert len(claimed(house.engine, house.worker)) == 0
    assert [slot.result for slot in house.engine.answer(request).slots] == ["started"] * 3
    assert len(claimed(house.engine, house.worker, 10)) == 3
    house.engine.answer(request)
    assert len(claimed(house.engine, house.worker, 10)) == 0


def test_a_retried_run_opens_its_slot_again() -> None:
    house = House()
    house.pass_until(FIRST)
    (run,) = claimed(house.engine, house.worker)
    recorded(house.engine, Unit(run.fence, 0, [], [], End(Move.FAIL)))
    assert house.info.open == 0
    assert house.engine.answer(Retry([run.fence.run_id])).outcomes[0].result == "retried"
    assert house.info.open == 1


def test_an_apply_is_a_plan_and_is_done_whole() -> None:
    engine = Engine(Clock())
    one, other = schedule("one", "shop"), schedule("other", "shop")
    planned = engine.answer(ApplySchedules("shop", [one, other], dry_run=True))
    assert [(change.name, change.action) for change in planned.changes] == [("one", "create"), ("other", "create")]
    assert engine.answer(ListSchedules()).schedules == []
    assert engine.answer(ApplySchedules("shop", [one, other])).is_done
    left = engine.answer(ApplySchedules("shop", [one]))
    assert [(change.name, change.action) for change in left.changes] == [("one", "unchanged"), ("other", "pause")]
    assert [(info.schedule.name, info.vanished) for info in engine.answer(ListSchedules()).schedules] == [
        ("one", False),
        ("other", True),
    ]
    foreign = engine.answer(ApplySchedules("bank", [schedule("one", "bank")]))
    assert (foreign.is_done, foreign.changes[0].action) == (False, "refused")


def test_what_a_person_has_paused_stays_so_though_it_vanishes_and_comes_back() -> None:
    engine, one = Engine(Clock()), schedule("one", "shop")
    engine.answer(ApplySchedules("shop", [one]))
    engine.answer(OrderSchedules(["one"], "pause", "by hand"))
    for declared in ([], [one]):
        assert engine.answer(ApplySchedules("shop", declared)).is_done
    told = engine.answer(ShowSchedule("one")).info
    assert told is not None
    assert (told.paused, told.vanished, told.note) == (True, False, "by hand")


def test_what_never_fires_or_is_there_already_is_refused() -> None:
    house = House()
    with pytest.raises(UsageError, match="past"):
        house.engine.answer(PutSchedule(schedule("late", every=None, at=NOW - 1)))
    assert house.engine.answer(PutSchedule(schedule(every=2 * MINUTE))).result == "exists"
    assert house.engine.answer(PutSchedule(schedule(every=2 * MINUTE), update=True)).result == "updated"
    assert house.engine.answer(NextSlots("pulse", 2)).slots[1][0] % (2 * MINUTE) == 0


def test_a_cancelled_run_leaves_its_slot() -> None:
    house = House()
    house.pass_until(FIRST)
    (started,) = house.engine.answer(ShowSchedule("pulse")).slots
    assert started.run_id is not None
    house.engine.answer(Cancel([started.run_id]))
    assert house.info.open == 0
