"""How the summary of a namespace is shown: counts, and where there are more than were counted."""

from __future__ import annotations

import asyncio
import json

import pytest

from aiki import State
from aiki.client.counts import NamespaceSummary, RouteCount
from aiki_cli.view import summary
from aiki_cli.view.output import Mode, Output
from aiki_cli.view.showing import show

SUMMARY = NamespaceSummary(
    [
        RouteCount("order", "2", State.COMPLETED, 10_000, capped=True),
        RouteCount("order", "2", State.FAILED, 10_000),
        RouteCount("order", "2", State.QUEUED, 12_345),
    ],
    workers=1,
)


def shown(mode: Mode, capsys: pytest.CaptureFixture[str]) -> str:
    asyncio.run(show(summary.rows(SUMMARY), Output(mode)))
    return capsys.readouterr().out


def test_a_person_sees_that_there_are_more_than_were_counted(capsys) -> None:
    total, _, titles, counts = (line.split() for line in shown(Mode.TABLE, capsys).splitlines())
    assert total == ["12,345", "queued", "1", "worker"]
    assert titles == ["WORKFLOW", "QUEUED", "COMPLETED", "FAILED"]
    assert counts == ["order", "2", "12,345", "10,000+", "10,000"]


def test_a_program_reads_a_number_and_whether_there_are_more(capsys) -> None:
    document = json.loads(shown(Mode.JSON, capsys))
    counts = {count["state"]: (count["runs"], count["capped"]) for count in document["counts"]}
    assert counts == {"completed": (10_000, True), "failed": (10_000, False), "queued": (12_345, False)}
    assert document["counts"] == [json.loads(line) for line in shown(Mode.JSONL, capsys).splitlines()]
    assert document["workers"] == 1


def test_a_cell_for_more_than_were_counted_is_no_number(capsys) -> None:
    cells = [line.split("\t") for line in shown(Mode.TSV, capsys).splitlines()]
    assert [(state, runs) for _, _, state, runs in cells] == [
        ("completed", "10000+"),
        ("failed", "10000"),
        ("queued", "12345"),
    ]
    assert shown(Mode.IDS, capsys) == ""
