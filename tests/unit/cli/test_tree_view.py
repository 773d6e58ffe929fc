"""How a family is shown: a tree for people, cut with counts, and the same nested for programs."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from aiki import RunStatus, State
from aiki.client.matching import RunCount
from aiki_cli.view.output import Mode, Output
from aiki_cli.view.showing import show
from aiki_cli.view.tree import Member, rows

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run(number: int, workflow: str, state: State, **more: object) -> RunStatus:
    fields = {"run_id": f"0199-{number}", "origin_id": f"0199-{number}", "attempt": 1, "claims": 1, "created_at": AT}
    return RunStatus(**{"workflow": workflow, "version": "1", "state": state, **fields, **more})  # type: ignore[arg-type]


PAYMENT = Member(
    run(2, "payment", State.COMPLETED, parent_id="0199-1", depth=1, children=1),
    family=[Member(run(3, "ledger", State.WAITING, parent_id="0199-2", depth=2, waits=["paid"]))],
)
PARCELS = Member(
    run(4, "parcels", State.RUNNING, parent_id="0199-1", depth=1, children=10_021),
    family=[Member(run(5, "parcel", State.FAILED, parent_id="0199-4", depth=2, children=7))],
    earlier={"running": RunCount(20), "completed": RunCount(10_000, capped=True)},
)
STOCK = Member(run(6, "stock", State.QUEUED, children=3), is_own=False)
ORDER = Member(run(1, "order", State.WAITING, children=3), family=[PAYMENT, PARCELS, STOCK])


def shown(mode: Mode, capsys: pytest.CaptureFixture[str], top: Member = ORDER) -> str:
    asyncio.run(show(rows(top), Output(mode)))
    return capsys.readouterr().out


def test_a_person_sees_who_has_started_whom_and_how_many_are_not_shown(capsys) -> None:
    assert [line.rstrip() for line in shown(Mode.TABLE, capsys).splitlines()] == [
        "… waiting  order 1  0199-1",
        "├── ✓ completed  payment 1  0199-2",
        "│   └── … waiting  ledger 1  0199-3  for paid",
        "├── ● running  parcels 1  0199-4",
        "│   ├── … earlier: 20 running, 10,000+ completed",
        "│   └── ✗ failed  parcel 1  0199-5  (7 children, not shown)",
        "└── ○ queued  stock 1  0199-6  (child of another run)",
    ]


def test_a_program_reads_the_same_nested(capsys) -> None:
    order = json.loads(shown(Mode.JSON, capsys))
    payment, parcels, stock = order["family"]
    assert (order["id"], order["children"], order["own"], order["earlier"]) == ("0199-1", 3, True, {})
    assert [child["state"] for child in payment["family"]] == ["waiting"]
    assert (payment["parent_id"], payment["family"][0]["depth"]) == ("0199-1", 2)
    assert parcels["earlier"] == {
        "running": {"runs": 20, "capped": False},
        "completed": {"runs": 10_000, "capped": True},
    }
    assert (stock["own"], stock["family"], stock["parent_id"]) == (False, None, None)


def test_a_script_gets_a_line_for_each_run_before_its_children(capsys) -> None:
    ids = [f"0199-{number}" for number in range(1, 7)]
    assert shown(Mode.IDS, capsys).split() == ids
    assert [line.split("\t")[0] for line in shown(Mode.TSV, capsys).splitlines()] == ids
    assert [json.loads(line)["id"] for line in shown(Mode.JSONL, capsys).splitlines()] == ids


def test_text_of_users_steers_no_terminal(capsys) -> None:
    told = shown(Mode.TABLE, capsys, Member(run(1, "order", State.BLOCKED, why="\x1b[2J\nno")))
    assert told.splitlines() == [r"! blocked  order 1  0199-1  \x1b[2J\nno"]
