"""How schedules are shown: to people in words, to scripts whole; text of users steers no terminal."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiki import NamedCall, NotFound, ScheduleInfo, SlotInfo, State, When
from aiki_cli.view import firings, schedule_orders, schedules, slots
from aiki_cli.view.found import Found
from aiki_cli.view.output import Mode, Output
from aiki_cli.view.showing import show

AT = datetime(2026, 3, 1, 1, tzinfo=UTC)
NIGHTLY = ScheduleInfo(
    name="nightly",
    id="0190b0a0-0000-7000-8000-000000000001",
    call=NamedCall("report", {"scope": "all"}, "1").options(labels={"team": "a"}, timeout="1h30m"),
    when=When(cron="0 2 * * *", timezone="Europe/Berlin", jitter=timedelta(minutes=5)),
    project="shop",
    created_at=AT,
    updated_at=AT,
    revision=2,
    paused=False,
    note="",
    vanished=False,
    next=AT,
    last_completed=None,
    open=1,
    queued=2,
    served=False,
    slots=(
        SlotInfo(slot=AT, result="started", at=AT, run_id="0190b0a0-0000-7000-8000-00000000000a", state=State.FAILED),
        SlotInfo(slot=AT, until=AT + timedelta(hours=9), count=10, result="missed", at=AT, reason="paused"),
    ),
)


def shown(found: Found, capsys: pytest.CaptureFixture[str], mode: Mode = Mode.TABLE) -> tuple[str, str]:
    asyncio.run(show(found, Output(mode)))
    return capsys.readouterr()


def test_a_page_says_when_it_fires_next_what_became_of_its_slots_and_who_should_serve_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, err = shown(schedules.whole(NIGHTLY, [(AT, AT)]), capsys)
    for part in (
        "◷ active  nightly  report 1",
        "0 2 * * *  (At 02:00 every day, Europe/Berlin)",
        "less than 5m",
        "latest, if not older than 1d",
        "2026-03-01 02:00:00 CET",
        "10 missed",
        "✗ failed",
        "1 run",
        "2 slots",
    ):
        assert part in out
    assert "no worker serves report 1, which nightly enqueues: aiki worker start -m MODULE" in err


def test_a_document_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = shown(schedules.whole(NIGHTLY, [(AT, AT + timedelta(seconds=3))]), capsys, Mode.JSON)
    value: dict[str, Any] = json.loads(out)
    assert (value["payload"], value["labels"], value["timeout"]) == ({"scope": "all"}, {"team": "a"}, 5400)
    assert (value["cron"], value["every"], value["jitter"], value["window"]) == ("0 2 * * *", None, 300, 86_400)
    assert value["upcoming"] == [{"slot": "2026-03-01T01:00:00.000000Z", "fires_at": "2026-03-01T01:00:03.000000Z"}]
    assert [(slot["result"], slot["count"], slot["reason"]) for slot in value["slots"]] == [
        ("started", 1, ""),
        ("missed", 10, "paused"),
    ]


@pytest.mark.parametrize(
    ("changes", "state", "told"),
    [
        ({}, "active", "no worker serves it"),
        ({"paused": True, "note": "holidays", "next": None}, "paused", "holidays"),
        ({"paused": True, "vanished": True, "next": None}, "paused", "its manifest names it no longer"),
        ({"next": None, "served": True}, "over", "1 open, 2 queued"),
        ({"served": True, "open": 0}, "active", "2 queued"),
    ],
)
def test_a_list_says_how_each_stands(
    changes: dict[str, Any], state: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = shown(schedules.listed([replace(NIGHTLY, **changes)]), capsys)
    assert state in out
    assert told in out
    line, _ = shown(schedules.listed([replace(NIGHTLY, **changes)]), capsys, Mode.TSV)
    assert line.split("\t")[:3] == ["nightly", state, "0 2 * * *"]


@pytest.mark.parametrize(
    ("when", "rule"),
    [
        (When(every=timedelta(minutes=90), anchor=AT), "every 1h30m, counted from 2026-03-01T01:00:00.000000Z"),
        (When(at=AT), "at 2026-03-01T01:00:00.000000Z"),
    ],
)
def test_an_interval_and_a_date_are_said_as_they_were(
    when: When, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rule in shown(schedules.whole(replace(NIGHTLY, when=when), []), capsys)[0]


def test_a_note_and_a_reason_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[2J\x9b1m\u202ea\nb"
    slot = replace(NIGHTLY.slots[1], reason=hostile)
    info = replace(NIGHTLY, paused=True, note=hostile, slots=(slot,))
    for mode in Mode:
        for found in (schedules.whole(info, []), schedules.listed([info]), slots.rows([slot], said=None)):
            out, err = shown(found, capsys, mode)
            assert not {"\x1b", "\x9b", "\u202e"} & set(out + err)


def test_next_firings_stand_in_the_zone_of_the_schedule_and_have_their_slots_for_ids(
    capsys: pytest.CaptureFixture[str],
) -> None:
    upcoming = [(AT, AT + timedelta(seconds=7))]
    assert "2026-03-01 02:00:00 CET" in shown(firings.rows(upcoming, "Europe/Berlin"), capsys)[0]
    assert shown(firings.rows(upcoming, "UTC"), capsys, Mode.IDS)[0] == "2026-03-01T01:00:00.000000Z\n"
    assert "fires no more" in shown(firings.rows([], "UTC"), capsys)[1]


def test_of_several_orders_each_has_its_line_and_of_one_its_error_is_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = schedule_orders.ordered([("a", None), ("b", NotFound("no b"))], "paused", said=None)
    assert rows.end.code == 5
    out, err = shown(rows, capsys, Mode.TSV)
    assert out == "a\tpaused\t\nb\trefused\tno b\n"
    assert "1 schedules did not obey" in err


def test_a_preview_counts_the_slots_and_names_the_first_and_the_last() -> None:
    first = SlotInfo(slot=AT, result="started", at=AT)
    assert slots.preview("nightly", [first]).startswith("1 slot of nightly would be fired: 2026-03-01")
    last = replace(first, slot=AT + timedelta(days=1))
    assert "2 slots of nightly would be fired" in slots.preview("nightly", [first, last])
    assert slots.counted([first, last, replace(last, result="skipped")]) == "2 started, 1 skipped"
    assert slots.rows([replace(first, result="failed", reason="too big")], said=None).end.code == 65


def test_who_changes_what_a_manifest_declares_is_told_and_what_comes_next_is_said_to_people_alone() -> None:
    served, talk = replace(NIGHTLY, served=True), "it is declared in the manifest of shop"
    assert [said.partition(":")[0] for said in schedules.remarks(served, "updated", is_talkative=False)] == [talk]
    (said,) = schedules.remarks(replace(served, project=None, next=None), "created", is_talkative=True)
    assert said == "✓ created nightly; it fires no more: aiki schedule show nightly"
