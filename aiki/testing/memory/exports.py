"""Own what leaves the engine whole: runs as their next claims would find them."""

from __future__ import annotations

from aiki.core.states import Move, sources
from aiki.testing.memory.claims import described
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Store
from aiki.wire.messages import Export, Exported, ExportReply


def export(store: Store, request: Export) -> ExportReply:
    """Return the runs that there are, in the order asked."""
    known = [store.runs[run_id] for run_id in dict.fromkeys(request.ids) if run_id in store.runs]
    return ExportReply([_exported(store, run) for run in known], store.now())


def _exported(store: Store, run: Run) -> Exported:
    claimed = described(run, "", store.now())
    one = Exported(claimed, run.state, run.created_at, run.finished_at, run.output, run.error, run.why)
    one.waits, one.due_at = rested(run)
    return one


def rested(run: Run) -> tuple[list[str], int | None]:
    """Return what a run rests for, and until when."""
    if run.state not in sources(Move.DUE):
        return [], None
    return [word for word in run.waits if word in run.standing.waits], run.standing.due_at
