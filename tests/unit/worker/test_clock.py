"""What a worker takes for the database's time."""

from __future__ import annotations

import time

import pytest

from aiki.worker.clock import DatabaseClock
from tests.clocks import HOUR, sleep_machine

NOW = 1_700_000_000_000_000
HOUR_US = round(HOUR * 1e6)


def told(now: int = NOW) -> DatabaseClock:
    clock = DatabaseClock()
    clock.told(now)
    return clock


def test_it_goes_on_from_what_a_reply_said() -> None:
    assert 0 <= told().now() - NOW < 1_000_000


def test_it_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = told()
    sleep_machine(monkeypatch, HOUR)
    assert 0 <= clock.now() - NOW - HOUR_US < 1_000_000
    assert 0 <= clock.database() - NOW - HOUR_US < 1_000_000


def test_the_date_of_its_own_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = told()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= clock.now() - NOW < 1_000_000


def test_it_does_not_run_back_for_a_slow_reply_or_what_a_time_server_corrects() -> None:
    clock = told()
    before = clock.now()
    clock.told(NOW - 200_000)
    assert clock.now() == before
    assert clock.database() < before


def test_it_goes_along_with_a_clock_that_was_set_back() -> None:
    clock = told()
    clock.now()
    clock.told(NOW - HOUR_US)
    assert 0 <= clock.now() - NOW + HOUR_US < 1_000_000
