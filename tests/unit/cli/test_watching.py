"""What whoever waits off a terminal is told: a line a change, and that it lives where none comes."""

from __future__ import annotations

import asyncio

from aiki import State
from aiki.definitions.view import RunView
from aiki_cli.view import watching
from aiki_cli.view.output import Mode, Output
from aiki_cli.view.run_board import RunBoard
from tests.unit.cli.views import RUN_ID, run


async def watched(out: Output, capsys, *, lines: int) -> list[str]:
    """Return what is said of a run that sleeps, once so many lines are."""
    said: list[str] = []
    async with watching.watching(RunBoard([RUN_ID]), out, tells=True, draws=True) as watcher:
        view = RunView(status=run(State.SLEEPING, why="sleeps until tomorrow", is_explained=True))
        watcher.take(view)
        watcher.take(view)  # it tells nothing new
        async with asyncio.timeout(20):
            while len(said) < lines:
                await asyncio.sleep(0)
                said += capsys.readouterr().err.splitlines()
    return said


def test_a_minute_without_a_change_is_a_sign_of_life(capsys, monkeypatch):
    monkeypatch.setattr(watching, "LIFE_SECONDS", 0.01)
    first, second, *_ = asyncio.run(watched(Output(Mode.TSV), capsys, lines=2))
    assert first.endswith(f"Z {RUN_ID} sleeping: fan-out 1.0.0; sleeps until tomorrow")
    assert second.endswith(f"Z {RUN_ID} still sleeping: sleeps until tomorrow")


def test_who_wants_it_quiet_is_told_nothing(capsys, monkeypatch):
    monkeypatch.setattr(watching, "LIFE_SECONDS", 0.0)
    assert asyncio.run(watched(Output(Mode.TSV, quiet=True), capsys, lines=0)) == []
