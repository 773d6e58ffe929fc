"""What a log says of something that goes away and comes back."""

from __future__ import annotations

import logging

import pytest

from aiki.process.outages import Outage

log = logging.getLogger("tests.outages")


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.monotonic", lambda: made.now)
    caplog.set_level(logging.INFO)
    return made


def test_a_long_absence_is_said_when_it_begins_once_a_minute_and_when_it_ends(clock, caplog):
    outage = Outage(log, "NATS")
    for _ in range(5 * 150):
        outage.goes_on("connection refused")
        clock.pass_by(0.2)
    outage.is_over()
    outage.is_over()
    assert caplog.messages == [
        "NATS is away: connection refused",
        "NATS is away for 60 s: connection refused",
        "NATS is away for 120 s: connection refused",
        "NATS is back after 150.0 s",
    ]


def test_what_was_never_away_is_never_back(clock, caplog):
    Outage(log, "NATS").is_over()
    assert not caplog.messages


def test_what_comes_and_goes_in_quick_turns_is_said_now_and_then(clock, caplog):
    outage = Outage(log, "NATS")
    for _ in range(100):
        outage.goes_on("flapping")
        clock.pass_by(0.1)
        outage.is_over()
        clock.pass_by(0.1)
    assert len(caplog.messages) <= 2 * (20 / 5 + 1)


def test_an_absence_just_after_a_return_is_said_all_the_same(clock, caplog):
    outage = Outage(log, "NATS")
    outage.goes_on("first")
    clock.pass_by(1)
    outage.is_over()
    for _ in range(100):
        clock.pass_by(0.1)
        outage.goes_on("second")
    assert caplog.messages == ["NATS is away: first", "NATS is back after 1.0 s", "NATS is away: second"]


def test_two_absences_far_apart_are_told_apart(clock, caplog):
    outage = Outage(log, "the lease", away="is not certain", back="is renewed")
    for reason in ("one", "two"):
        outage.goes_on(reason)
        clock.pass_by(10)
        outage.is_over()
        clock.pass_by(10)
    assert caplog.messages == [
        "the lease is not certain: one",
        "the lease is renewed after 10.0 s",
        "the lease is not certain: two",
        "the lease is renewed after 10.0 s",
    ]
