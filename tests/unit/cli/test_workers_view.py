"""How live workers are shown: to people with how far ago, to scripts in columns, and by the ids of their sessions."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiki.client.workers import WorkerInfo
from aiki_cli.view import workers
from aiki_cli.view.output import Mode, Output
from aiki_cli.view.showing import show

NOW = datetime.now(UTC)


def worker(name: str = "w-1", **fields: Any) -> WorkerInfo:
    given = {
        "session_id": f"id-of-{name}",
        "since": NOW - timedelta(hours=2),
        "seen_at": NOW - timedelta(seconds=3),
        "slots": 100,
        "running": 12,
        "draining": False,
        "routes": (("order", "1"), ("ship", "2")),
        "routes_total": 2,
    }
    return WorkerInfo(worker=name, **{**given, **fields})


OLD = worker("old\x1b[31m", slots=None, running=0, draining=True, routes=(), routes_total=0)
MANY = worker("many", routes=tuple((f"flow-{n}", "1") for n in range(10)), routes_total=2_000)


def shown(mode: Mode, capsys: pytest.CaptureFixture[str], *infos: WorkerInfo) -> str:
    asyncio.run(show(workers.listed(infos), Output(mode)))
    return capsys.readouterr().out


def test_a_person_sees_slots_since_when_and_the_first_routes(capsys: pytest.CaptureFixture[str]) -> None:
    titles, _, *lines = shown(Mode.TABLE, capsys, worker(), OLD, MANY).splitlines()
    assert titles.split("  ")[0] == "WORKER"
    assert all(part in lines[0] for part in ("w-1", "12 of 100", "serving", "2h", "ago", "order 1, ship 2"))
    assert "\x1b" not in lines[1]
    assert all(part in lines[1] for part in (r"old\x1b[31m", "draining", "nothing"))
    assert "1,997 more" in " ".join(lines[2:])


def test_a_script_reads_columns_and_ids(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (line.split("\t") for line in shown(Mode.TSV, capsys, worker(), OLD).splitlines())
    names = workers.TSV_COLUMNS.split()
    told = dict(zip(names, first, strict=True))
    assert (told["worker"], told["slots"], told["running"], told["draining"]) == ("w-1", "100", "12", "false")
    assert (told["routes"], told["routes_total"]) == ("order 1, ship 2", "2")
    assert told["since"].endswith("Z")
    assert dict(zip(names, second, strict=True))["slots"] == ""
    assert shown(Mode.IDS, capsys, worker(), OLD).split("\n")[0] == "id-of-w-1"


def test_a_program_reads_all(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = json.loads(shown(Mode.JSON, capsys, OLD))["workers"]
    assert (one["worker"], one["slots"], one["draining"], one["routes"]) == ("old\x1b[31m", None, True, [])


def test_where_nobody_works_that_is_said_beside_an_empty_result(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(show(workers.listed([]), Output(Mode.TABLE)))
    out, err = capsys.readouterr()
    assert out == ""
    assert "aiki worker start -m MODULE" in err
