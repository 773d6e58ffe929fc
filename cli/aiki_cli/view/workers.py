"""Own how live workers are shown: who they are, what they hold and serve, and when they were seen last."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiki_cli.view.documents.workers import Workers
from aiki_cli.view.found import Line, Rows
from aiki_cli.view.moments import distance
from aiki_cli.view.plain import to_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from aiki.client.workers import WorkerInfo

TSV_COLUMNS: Final = "worker session_id slots running since seen_at draining routes_total routes"
_SHOWN: Final = 3
"""Routes of a worker that stand in its line for people."""


def listed(workers: Sequence[WorkerInfo]) -> Rows:
    """Return a list of workers; their sessions are its ids."""
    return Rows(
        map(_line, workers),
        page=lambda: [_table(workers)] if workers else [],
        document=lambda _: Workers(workers),
        asides=[] if workers else ["no worker lives: aiki worker start -m MODULE"],
    )


def _line(worker: WorkerInfo) -> Line:
    routes = ", ".join(" ".join(route) for route in worker.routes)
    cells = {**to_object(worker), "routes": routes, "draining": "true" if worker.draining else "false"}
    return Line(worker, [cells[name] for name in TSV_COLUMNS.split()], worker.session_id)


def _table(workers: Sequence[WorkerInfo]) -> RenderableType:
    from aiki_cli.view.drawing import columns

    now = datetime.now(UTC)
    rows = [
        [
            worker.worker,
            _taken(worker),
            "draining" if worker.draining else "serving",
            distance(worker.since, now),
            distance(worker.seen_at, now),
            _serves(worker),
        ]
        for worker in workers
    ]
    return columns(rows, ["WORKER", "RUNS", "STATE", "SINCE", "SEEN", "SERVES"])


def _taken(worker: WorkerInfo) -> str:
    return f"{worker.running:,}" if worker.slots is None else f"{worker.running:,} of {worker.slots:,}"


def _serves(worker: WorkerInfo) -> str:
    if not worker.routes_total:
        return "nothing"
    shown = [" ".join(route) for route in worker.routes[:_SHOWN]]
    more = worker.routes_total - len(shown)
    return ", ".join([*shown, *([f"{more:,} more"] if more else [])])
