"""Schedules of a manifest are read with all that they may say; what cannot fire is refused at its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aiki.core.errors import ConfigError
from aiki.core.moments import SECOND, to_wire
from aiki.manifest import parse
from aiki.manifest.schedules import Declared, Schedules
from aiki.payload.typed import Number
from aiki.wire.messages.schedules import DAY, Spec

HEAD = "aiki: 1\nproject: shop\nschedules:\n"


def read(text: str, *, head: str = HEAD) -> Schedules:
    return parse(f"{head}{text}".encode(), Path("/p/aiki.yaml")).schedules


def one(text: str) -> Declared:
    return read(f"  s: {text}")["s"]


def refused(text: str, *, head: str = HEAD) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text, head=head)
    return caught.value


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return to_wire(datetime(year, month, day, hour, minute, tzinfo=UTC), what="a time")


def test_all_that_a_schedule_may_say_is_read():
    found = read(
        "  nightly:\n"
        '    {workflow: report, version: "1.0.0", cron: "0 2 * * *", timezone: Europe/Berlin, overlap: queue,\n'
        "     catch_up: all, catch_up_window: 2d, jitter: 30s, payload: {scope: all, n: 3, on: true, none: null},\n"
        "     labels: {team: ops}, priority: -3, timeout: 1h}\n"
        '  pulse: {workflow: ping, every: 15m, anchor: "2026-01-01T00:05:00Z", start: 2026-01-02T00:00:00Z,\n'
        '          end: "2027-01-01T00:00:00+01:00"}\n'
        '  once: {workflow: import-all, at: "2026-12-31T23:00:00+01:00"}\n'
    )
    assert list(found) == ["nightly", "pulse", "once"]
    nightly = found["nightly"]
    assert (str(nightly.place), nightly.workflow, nightly.version) == ("/p/aiki.yaml:5:5", "report", "1.0.0")
    assert nightly.payload == {"scope": "all", "n": 3, "on": True, "none": None}
    assert nightly.options == {"labels": {"team": "ops"}, "priority": -3, "timeout": timedelta(hours=1)}
    when: dict[str, Any] = {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "overlap": "queue", "catch_up": "all"}
    assert nightly.spec == Spec(**when, window=2 * DAY, jitter=30 * SECOND)
    assert found["pulse"].spec == Spec(
        every=900 * SECOND, anchor=at(2026, 1, 1, 0, 5), start=at(2026, 1, 2), end=at(2026, 12, 31, 23)
    )
    assert found["once"].spec == Spec(at=at(2026, 12, 31, 22))
    assert (found["once"].payload, found["once"].options, found["once"].version) == ({}, {}, None)


def test_a_fraction_of_a_payload_keeps_the_digits_that_stand_there():
    amount = one("{workflow: w, every: 1m, payload: {amount: 12.10}}").payload["amount"]
    assert isinstance(amount, Number)
    assert amount.digits == "12.10"


BAD = [
    ("{every: 15m}", "4:6", "has no `workflow`"),
    ("{workflow: w}", "4:6", "fires by one of `cron`, `every` and `at` alone"),
    ('{workflow: w, every: 1m, cron: "* * * * *"}', "4:6", "fires by one of `cron`, `every` and `at` alone"),
    ("{workflow: w, version: 1.10, every: 1m}", "4:29", 'expected it in quotes: "1.10"'),
    ("{workflow: w, every: 1x}", "4:27", "expected a duration"),
    ("{workflow: w, every: 1ms}", "4:6", "every is at least a second"),
    ('{workflow: w, cron: "* * *"}', "4:26", "has 3 fields, and needs five"),
    ('{workflow: w, cron: "0 25 * * *"}', "4:26", "'25' is no hour"),
    ('{workflow: w, cron: "0 0 31 2 *"}', "4:26", "never fires"),
    ('{workflow: w, cron: "@reboot"}', "4:26", "no word that a schedule knows"),
    ('{workflow: w, cron: "* * * * *", timezone: Europe/Atlantis}', "4:49", "none that this machine knows"),
    ('{workflow: w, cron: "* * * * *", timezone: ../../etc/passwd}', "4:49", "none that this machine knows"),
    ("{workflow: w, every: 1m, timezone: Europe/Berlin}", "4:6", "with `timezone` and without `cron`"),
    ('{workflow: w, cron: "* * * * *", anchor: "2026-01-01T00:00:00Z"}', "4:6", "with `anchor` and without `every`"),
    ("{workflow: w, at: 2026-01-01}", "4:24", "expected a time with its offset"),
    ("{workflow: w, at: 2026-01-01T00:00:00}", "4:24", "expected a time with its offset"),
    ("{workflow: w, at: 1960-01-01T00:00:00Z}", "4:6", "at of a schedule lies between the years 1970 and 9999"),
    ("{workflow: w, every: 1m, start: tomorrow}", "4:38", "expected a time with its offset"),
    (
        "{workflow: w, every: 1m, start: 2026-01-02T00:00:00Z, end: 2026-01-01T00:00:00Z}",
        "4:6",
        "the end of a schedule lies behind its start",
    ),
    ("{workflow: w, every: 1m, overlap: maybe}", "4:40", "expected skip, queue, cancel_previous or allow"),
    ("{workflow: w, every: 1m, catch_up: 2}", "4:41", "expected none, latest or all"),
    ("{workflow: w, every: 1m, catch_up_window: -1d}", "4:48", "expected a duration"),
    ("{workflow: w, every: 1m, payload: [1]}", "4:40", "expected the payload as a map"),
    ("{workflow: w, every: 1m, labels: {a b: c}}", "4:40", "expected a name of 1 to 64"),
    ("{workflow: w, every: 1m, priority: 101}", "4:41", "a whole number from -100 to 100"),
    ("{workflow: w, every: 1m, timeout: soon}", "4:40", "expected a duration"),
    ("{workflow: w, every: 1m, queue: q}", "4:31", "unknown key `queue` in a schedule"),
    ("{workflow: w, every: 1m, idempotency_key: k}", "4:31", "unknown key `idempotency_key` in a schedule"),
]


@pytest.mark.parametrize(("text", "place", "message"), BAD, ids=[case[0] for case in BAD])
def test_what_cannot_fire_is_refused_at_its_place(text, place, message):
    error = refused(f"  s: {text}")
    assert str(error).startswith(f"/p/aiki.yaml:{place}: "), error
    assert message in str(error)


def test_hints_are_what_to_write_into_a_manifest():
    assert refused('  s: {workflow: w, cron: "* *"}').hint == 'cron: "0 2 * * *"'
    assert refused('  s: {workflow: w, cron: "0 0 * * *", timezone: Europe/Berlni}').hint == 'timezone: "Europe/Berlin"'
    end = "  s: {workflow: w, every: 1m, start: 2026-01-02T00:00:00Z, end: 2026-01-01T00:00:00Z}"
    assert refused(end).hint == "leave `end` out"


def test_a_bad_name_is_refused():
    assert "expected a name of 1 to 64" in str(refused("  a.b: {workflow: w, every: 1m}"))


def test_schedules_need_a_project_that_owns_them():
    error = refused("  s: {workflow: w, every: 1m}", head="aiki: 1\nschedules:\n")
    assert str(error).startswith("/p/aiki.yaml:3:3: schedules without a `project`")
    assert error.hint == "project: NAME"
    assert read("", head="aiki: 1\nschedules:\n") == {}


def test_more_schedules_than_one_project_may_have_are_refused():
    many = "\n".join(f"  s{number}: {{workflow: w, every: 1m}}" for number in range(1001))
    assert "1,001 schedules, and expected at most 1,000" in str(refused(many))
