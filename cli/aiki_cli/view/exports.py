"""Own how it is shown what was exported, and what was imported."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from aiki.process.visible import json_text
from aiki_cli.view.documents.files import ExportedRun, ExportFile
from aiki_cli.view.found import Line, Lines, Rows
from aiki_cli.view.tally import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aiki.client.importing import ImportOutcome
    from aiki.replay.recording import Recording

_DONE = {"imported": "imported", "exists": "here already", "refused": "refused"}


def lines(found: AsyncGenerator[bytes, None]) -> Lines[bytes]:
    """Return an export as it stands in a file; its ids are those of its runs."""
    return Lines(found, _line)


def _line(raw: bytes) -> Line:
    text = raw.decode()
    value = json.loads(text)
    return Line(value, json_text(text), value["id"] if value.get("line") == "run" else None)


def written(found: AsyncGenerator[Recording, None], to: str) -> Lines[Recording]:
    """Return the runs that were written to a file; people are told how many."""

    async def whole(recordings: AsyncIterator[Recording]) -> Rows:
        ids, entries = [], 0
        async for one in recordings:
            ids.append(one.run_id)
            entries += len(one.entries)
        runs, words = "run" if len(ids) == 1 else "runs", "entry" if entries == 1 else "entries"
        told = f"{len(ids):,} {runs} with {entries:,} {words} in {to}"
        return Rows(
            [Line(ExportFile(to, len(ids), entries, ids), told)],
            page=lambda: [told],
            asides=[f"it holds their payloads; replay it: aiki replay --file {to} -m NAME"],
        )

    return Lines(found, _exported, whole)


def _exported(one: Recording) -> Line:
    state, run = one.exported.state, one.exported.run
    value = ExportedRun(one.run_id, state, run.workflow, run.version, len(one.entries))
    return Line(value, [one.run_id, state, run.workflow, run.version, len(one.entries)], one.run_id)


def imported(outcomes: AsyncGenerator[ImportOutcome, None]) -> Lines[ImportOutcome]:
    """Return what has become of each run that was to be imported; the exit code is the highest."""
    tally = Tally(None, failed="were not imported", words=_DONE)

    def line(outcome: ImportOutcome) -> Line:
        tally.add(outcome.result, outcome.error)
        words = outcome.error.message if outcome.error else ""
        return Line(outcome, [outcome.run_id, outcome.result, words], None if outcome.error else outcome.run_id)

    return Lines(outcomes, line, end=partial(tally.end, alone=False), named="runs")
