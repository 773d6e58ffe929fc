"""Own what the order does that runs be carried out by another version of their workflow."""

from __future__ import annotations

from aiki.core.states import MOVED, Move
from aiki.rules import rerouting
from aiki.testing.memory import deadlines
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Store
from aiki.wire.messages import Moved, MoveReply, MoveRuns


def move(store: Store, request: MoveRuns) -> MoveReply:
    """Have the runs be of a version."""
    claims: dict[str, int | None] = dict.fromkeys(request.ids) | dict(zip(request.ids, request.claims, strict=False))
    answers = {run_id: _move(store, run_id, request, looked_at) for run_id, looked_at in claims.items()}
    return MoveReply([answers[run_id] for run_id in request.ids])


def _move(store: Store, run_id: str, request: MoveRuns, claims: int | None) -> Moved:
    if (run := store.runs.get(run_id)) is None:
        return Moved("unknown")
    is_there = run.version == request.version
    route = (run.workflow, request.version)
    result = rerouting.judge(
        run.standing,
        is_there=is_there,
        is_imported=False,
        is_registered=request.force or store.routes.get(route) is not None,
        claims=claims,
    )
    if result == "done" and not is_there:
        _carry_out(store, run, request)
    return Moved(result, run.state)


def _carry_out(store: Store, run: Run, request: MoveRuns) -> None:
    run.tell(store.now(), MOVED, reason=f"from {run.version} to {request.version}", actor=request.actor)
    store.reroute(run, request.version)
    after = rerouting.moved(run.standing, keep_blocked=request.keep_blocked)
    if after.state is not run.state:
        store.move(run, after, Move.RESUME, actor=request.actor)
        run.life.begin_early(store.now())
        deadlines.resumed(store, run)
