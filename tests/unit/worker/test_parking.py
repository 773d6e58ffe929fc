"""Parking: when a worker looks again at what daemons may hand over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from aiki.execution.lease import Lease, boottime
from aiki.wire import codec
from aiki.wire.messages import Claimed, Fence, HandOver, Park, Parked
from aiki.worker import parking as parkings
from aiki.worker.clock import DatabaseClock
from aiki.worker.inventory import Inventory
from aiki.worker.parking import PAUSE_SECONDS, Parking
from aiki.worker.slots import Slots


class Wire:
    """As much of a transport and its inbox as parking knows."""

    subject = "_INBOX.a"

    def __init__(self) -> None:
        self.on_return: list[Callable[[], None]] = []
        self.parks: list[Park] = []

    def handoffs(self, on_push: Callable[[bytes, str], None]) -> Wire:
        self.on_push = on_push
        return self

    def park(self, park: Park) -> None:
        self.parks.append(park)

    def took(self, reply: str) -> None: ...

    def answer(self, upto: int, *, settled: int = 0) -> None:
        self.on_push(codec.encode(Parked("line", self.parks[-1].serial, upto, settled)), "")


class Leased:
    """As much of a session."""

    def __init__(self) -> None:
        self.lease = Lease("session", 30.0, certain_until=boottime() + 600)
        self.inventory = Inventory()


HOUR = 3_600_000_000


@pytest.fixture
def slots() -> Slots:
    return Slots(8, lambda: None)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def parking(wire: Wire, slots: Slots) -> Parking:
    transport: Any = wire
    session: Any = Leased()
    return Parking(transport, session, slots, clock=DatabaseClock(), on_handed=lambda *_: None)


def test_a_database_whose_clock_was_set_back_hands_over_as_before(wire: Wire, slots: Slots) -> None:
    """As after a failover: what was born by the new clock has not come late, and a leave ends by it."""
    came: list[str | None] = []
    transport: Any = wire
    session: Any = Leased()
    clock = DatabaseClock()
    parking = Parking(transport, session, slots, clock=clock, on_handed=lambda *handed: came.append(handed[3]))
    clock.told(HOUR)
    assert clock.now() >= HOUR
    clock.told(0)
    parking.look([("flow", "1")], more=False, pulled=0)
    assert wire.parks[-1].until < HOUR
    for number, born in enumerate((0, HOUR)):
        run = Claimed(Fence(f"run-{number}", 1, f"claim-{number}"), f"run-{number}", "flow", "1", Raw(b"{}"), 1, 0)
        wire.on_push(codec.encode(HandOver("line", number + 1, "session", born, [run])), "")
    assert came == [None, "its hand-over came late"]


def test_leaves_that_are_used_up_in_the_pause_after_a_park_are_seen_to_when_it_is_over(
    parking: Parking, wire: Wire, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else may happen then: the run that used them has ended within the pause."""

    def look() -> None:
        parking.look([("flow", "1")], more=False, pulled=0)

    look()
    wire.answer(0)
    monkeypatch.setattr(parkings, "PAUSE_SECONDS", 60.0)
    look()
    assert wire.parks[-1].leaves == {"line": 4}
    monkeypatch.setattr(parking, "_park_at", parking._park_at + 60)
    assert parking.seconds_to_next() > PAUSE_SECONDS, "nothing is used"
    wire.answer(4, settled=4)
    assert slots.free == 8
    parking._pause_until -= 59.9
    look()
    assert parking.seconds_to_next() <= 0.1
    parking._pause_until -= 1
    look()
    assert wire.parks[-1].leaves == {"line": 8}
