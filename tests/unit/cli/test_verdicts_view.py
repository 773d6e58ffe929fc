"""How verdicts are shown: each to a script, and for people those alike together, the worst first."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aiki import State
from aiki.core.frames import Place
from aiki.replay import Finding, Verdict
from aiki_cli.view import verdicts
from aiki_cli.view.drawing import console
from aiki_cli.view.found import Rows
from aiki_cli.view.text import to_json

pytestmark = pytest.mark.anyio


def verdict(number: int, finding: Finding = Finding.COMPATIBLE, **more: Any) -> Verdict:
    return Verdict(
        run_id=f"run-{number}",
        workflow="order",
        version="1",
        as_version=more.pop("as_version", "1"),
        state=State.WAITING,
        entries=2,
        finding=finding,
        **more,
    )


async def page_of(*found: Verdict, is_strict: bool = False) -> tuple[str, Rows]:
    tally = verdicts.Tally(is_strict=is_strict)

    async def come() -> AsyncIterator[Verdict]:
        for one in found:
            tally.add(one)
            yield one

    rows = await tally.rows(come())
    screen = console()
    with screen.capture() as captured:
        for drawing in rows.page():
            screen.print(drawing)
    return captured.get(), rows


async def test_those_alike_are_shown_together_and_the_worst_first() -> None:
    place = Place(f"{Path.cwd()}/flows.py", 7, "order")
    bad = [
        verdict(number, Finding.DIVERGES, entry=1, place=place, why=f"entry 1 of {number}", diff=f"diff of {number}")
        for number in range(3)
    ]
    shown, rows = await page_of(verdict(7), *bad, verdict(8, Finding.UNKNOWN, why="needs a module"), verdict(9))
    table, _, diff = shown.partition("the first that diverges")
    told = [line.split() for line in table.splitlines()[2:] if line.strip()]
    assert [line[:4] for line in told] == [
        ["diverges", "3", "order", "1"],
        ["unknown", "1", "order", "1"],
        ["compatible", "2", "order", "1"],
    ]
    assert "flows.py:7 in order: entry 1 of 0" in table
    assert str(Path.cwd()) not in table
    assert "run-0:\ndiff of 0" in diff
    assert rows.end.code == 1
    assert rows.end.said == "6 runs, 12 entries: 3 diverge, 1 unknown, 2 compatible"


@pytest.mark.parametrize(
    ("finding", "code", "strict"),
    [
        (Finding.COMPATIBLE, 0, 0),
        (Finding.DIVERGES, 1, 1),
        (Finding.DIFFERENTLY, 0, 1),
        (Finding.UNKNOWN, 0, 1),
    ],
)
async def test_the_exit_code_tells_of_what_diverges_or_if_strict_of_all(
    finding: Finding, code: int, strict: int
) -> None:
    for is_strict, expected in ((False, code), (True, strict)):
        _, rows = await page_of(verdict(1), verdict(2, finding), is_strict=is_strict)
        assert rows.end.code == expected


async def test_nothing_that_a_run_says_reaches_a_terminal_as_it_is() -> None:
    hostile = "\x1b[2J\x07evil\nline"
    shown, _ = await page_of(verdict(1, Finding.DIVERGES, why=hostile, diff=hostile, place=Place(hostile, 1, "f")))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_a_script_finds_all_members_and_ids_of_those_alone_that_diverge() -> None:
    compatible = verdicts.line(verdict(1, as_version="2"))
    assert compatible.id is None
    value = json.loads(to_json(compatible.value))
    assert set(value) == {
        *("id", "workflow", "version", "as_version", "state", "entries", "verdict", "why", "entry", "recorded"),
        *("asked", "file", "line", "function", "diff"),
    }
    assert (value["version"], value["as_version"]) == ("1", "2")
    assert verdicts.line(verdict(2, Finding.DIVERGES)).id == "run-2"
    assert verdicts.line(verdict(2, Finding.DIFFERENTLY)).id is None
