"""Own what must hold of a family when all its runs have ended: every child accounted for, and none twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from aiki.core.states import TERMINAL, State
from aiki.rules.recording import is_cancelled
from aiki.wire.codec import decoder
from aiki.wire.messages import ChildEnd, Outcome, Started, StartOp

if TYPE_CHECKING:
    from tests.worlds.cases import Case
    from tests.worlds.families import Link
    from tests.worlds.world import World

SPUN_SECONDS = 1
"""By so much what is due may come later, while a body spins."""


def check_family(case: Case) -> None:
    """Look at the run as a parent: at what it has started, what it has heard, and what its body has made of that."""
    _check_starts(case.world)
    _check_stops(case.world)
    _check_cancelled(case.world)
    for link in case.world.family.children.values():
        _check_end(link)
        _check_close(link)
    _check_trace(case)


def _check_starts(world: World) -> None:
    """What its units start is a run each, or stands for the one that its key has found; its journals list each."""
    ops = [op for unit in world.units for op in unit.starts]
    alone = [op.id for op in ops if op.options.key is None]
    assert len(set(alone)) == len(alone), "a child was started twice"
    for op in ops:
        result = "started" if op.options.key is None else _started(world, op).result
        link = world.family.children.get(op.id)
        assert (link is not None) == (result in ("started", "existing")), f"{op.id}: {result}"
        assert link is None or link.owned == (result == "started")
        assert link is None or not link.owned or link.child.origin_id == world.runs[op.id].origin_id
    same = [one for one in world.runs.values() if one.origin_id == world.origin_id]
    journals = [journal for one in same for _, journal in (*one.left, (one.input, one.journal))]
    listed = {id for journal in journals for entry in journal for _, id, _ in _listed(entry.key, entry.value)}
    unkeyed = {op.id for one in same for unit in one.units for op in unit.starts if op.options.key is None}
    assert listed == unkeyed, "the journals list other children than were started"


def _check_stops(world: World) -> None:
    """Whom its units have cancelled was told, or has ended so, in whichever of its retries."""
    for op in (op for unit in world.units for op in unit.stops):
        outcome = decoder(Outcome).decode(outcome_of(world, op.id))
        if outcome.result == "taken":
            origin_id = world.runs[op.run_id].origin_id
            same = [one for one in world.runs.values() if one.origin_id == origin_id]
            assert any(one.is_told or one.state is State.CANCELLED for one in same), f"{op.run_id} goes on"


def _check_cancelled(world: World) -> None:
    """Who takes in that it is cancelled takes those along whom it has started by then."""
    begun: list[StartOp] = []
    for unit in world.units:
        begun += unit.starts
        if is_cancelled(unit):
            break
    else:
        return
    closed_at = world.cancelled_at + (max(world.latency) + SPUN_SECONDS) * 1_000_000
    for link in (link for op in begun if (link := world.family.children.get(op.id)) is not None):
        child = link.child
        if link.owned and link.parent_close != "abandon" and child.ended_at > closed_at:
            assert min(world.cancels_at, world.closed_at) <= closed_at, f"{world.run_id} tells nobody of its cancel"
            assert child.is_told or child.state is State.CANCELLED, f"{child.run_id} goes on beside its parent's cancel"


def _listed(key: str, value: bytes) -> list[tuple[str, str, int]]:
    return decoder(list[tuple[str, str, int]]).decode(value) if key.startswith("starts:") else []


def _started(world: World, op: StartOp) -> Started:
    return decoder(Started).decode(outcome_of(world, op.id))


def outcome_of(world: World, op_id: str) -> Raw:
    """Return what became of an op of a run: it has heard of that, or one that goes on in its place."""
    same = [one for one in world.runs.values() if one.origin_id == world.origin_id]
    (outcome,) = [row for one in same for row in one.inbox.arrivals if (row.kind, row.name) == ("op", op_id)]
    return outcome.value


def _check_end(link: Link) -> None:
    """The parent has heard of its child's end once, if it was there to hear it, and as it was."""
    parent, child = link.parent, link.child
    assert child.state in TERMINAL
    rows = [one for one in parent.inbox.arrivals if (one.kind, one.name) == ("child", link.start_id)]
    assert len(rows) <= 1, "it has heard of one end twice"
    is_left = link.generation != parent.generation
    has_heard = bool(rows) or (parent.retried_by is not None and link.start_id in parent.heard)
    assert has_heard or is_left or parent.ended_at <= child.told_at, (
        f"{parent.run_id} never heard of the end of {child.run_id}"
    )
    for one in rows:
        end = decoder(ChildEnd).decode(one.value)
        assert is_left or (end.run_id, end.state) == (child.run_id, child.state)


def _check_close(link: Link) -> None:
    """A child goes with its parent, unless it was to outlive it, or is another's."""
    parent, child = link.parent, link.child
    if not link.owned or link.parent_close == "abandon":
        return
    is_awaited = link.parent_close == "wait" and link.generation == parent.generation
    if is_awaited and parent.state is State.COMPLETED:
        assert child.ended_at <= parent.ended_at, "a parent has not waited for its child"
    if child.ended_at > parent.closed_at and link.parent_close == "cancel":
        assert child.is_told or child.state is State.CANCELLED, f"{child.run_id} was left behind"


def _check_trace(case: Case) -> None:
    """What the body has heard of its children is what they have come to."""
    for step in case.witness.trace:
        if isinstance(step, tuple) and step[1:2] == ("came",):
            assert step[3] in _outputs(case.world.runs[step[2]])
        if isinstance(step, tuple) and step[1:2] in (("ended",), ("one ended",)):
            assert case.world.runs[step[2]].state == step[3]


def _outputs(world: World) -> list[str]:
    """Return what a run and its retries have come to."""
    own = [decoder(str).decode(world.end.output)] if world.state is State.COMPLETED and world.end else []
    return own if world.retried_by is None else [*own, *_outputs(world.retried_by)]
