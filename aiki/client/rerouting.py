"""Own how runs go to another version of their workflow: its schema has to take their input, and its workers know it.

What a run has recorded is not looked at: whether the other version's code asks for that is known by a replay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiki.client import waits
from aiki.client.control import person
from aiki.client.matching import RunFilter
from aiki.client.named import RouteBook
from aiki.client.wire import Wire
from aiki.core.errors import AikiError, Conflict, NotFound, UsageError
from aiki.core.states import State
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Input, Moved, MoveRuns, RunStatus
from aiki.wire.subjects import is_version

_MOVABLE: Final = frozenset({State.BLOCKED, State.PAUSED, State.QUEUED, State.SCHEDULED})
_STATES: Final = ", ".join(sorted(_MOVABLE))
_INPUTS: Final = 50
"""Read at a time."""


@dataclass(frozen=True, slots=True)
class Reroute:
    """To which version runs are to go, and who wants it: without a name, whoever this process belongs to."""

    version: str
    actor: str | None = None
    keep_blocked: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if not is_version(self.version):
            raise UsageError(f"version={self.version!r} must be text, 1 to 32 of A-Z a-z 0-9 _ . + -")


def movable(wanted: RunFilter, version: str) -> RunFilter:
    """Return those of the runs that can go to this version, and are not there."""
    return replace(wanted, states=list(wanted.states) or sorted(_MOVABLE), not_version=version)


async def move(wire: Wire, routes: RouteBook, order: Reroute, run_id: str) -> RunStatus:
    """Have one run go, and return it since. Raises NotFound, PayloadError, or Conflict if its state forbids it."""
    (outcome,) = await move_all(wire, routes, order, [run_id])
    if isinstance(outcome, AikiError):
        raise outcome
    return outcome


async def move_all(
    wire: Wire, routes: RouteBook, order: Reroute, run_ids: Sequence[str], *, claims: Mapping[str, int] | None = None
) -> list[RunStatus | AikiError]:
    """Have the runs go, and return of each in order how it is since, or why it stays.

    `claims` are how often each had been claimed when it was looked at: one that was claimed since stays. If nothing is
    said of one, that look is the one at its input.
    """
    before = await waits.read(wire, list(run_ids))
    stays = {} if order.force else await _misfits(wire, routes, order, before)
    going = [run_id for run_id in dict.fromkeys(run_ids) if run_id in before and run_id not in stays]
    looked_at = {run_id: before[run_id].claims for run_id in going} | dict(claims or {})
    moved: dict[str, Moved] = {}
    for start in range(0, len(going), BATCH_RUNS):
        some = going[start : start + BATCH_RUNS]
        request = MoveRuns(
            some,
            order.version,
            order.actor or person(),
            [] if order.force and claims is None else [looked_at[run_id] for run_id in some],
            keep_blocked=order.keep_blocked,
            force=order.force,
        )
        moved |= zip(some, (await wire.call(request)).outcomes, strict=True)
    stays |= {run_id: error for run_id, one in moved.items() if (error := _error(order, before[run_id], one))}
    after = await waits.read(wire, [run_id for run_id in going if run_id not in stays])
    return [stays.get(run_id) or after.get(run_id) or _unknown(wire, run_id) for run_id in run_ids]


async def _misfits(
    wire: Wire, routes: RouteBook, order: Reroute, runs: Mapping[str, RunStatus]
) -> dict[str, AikiError]:
    """Return why runs cannot go: the version is not registered, or takes no input like theirs."""
    slots = asyncio.Semaphore(_INPUTS)

    async def check(run: RunStatus) -> AikiError | None:
        async with slots:
            try:
                await routes.check_input(run.workflow, order.version, (await wire.call(Input(run.id))).input)
            except AikiError as error:
                return error
        return None

    asked = [run for run in runs.values() if run.state in _MOVABLE and run.version != order.version]
    found = await asyncio.gather(*map(check, asked))
    return {run.id: error for run, error in zip(asked, found, strict=True) if error is not None}


def _error(order: Reroute, run: RunStatus, moved: Moved) -> AikiError | None:
    name = f"run {run.id}"
    match moved.result:
        case "done":
            return None
        case "too_late":
            return Conflict(f"{name} has ended {moved.state}: it is of version {run.version}, and stays so")
        case "imported":
            return Conflict(f"{name} was imported: it is here to be read and replayed, and no worker takes it up")
        case "changed":
            return Conflict(
                f"{name} was claimed meanwhile, and may have recorded more than was looked at: it is {moved.state}",
                hint="look at it again, by a replay, and move it then",
                command=f"aiki run move {run.id} --to-version {order.version}",
            )
        case "unregistered":
            return _unregistered(run.workflow, order.version)
        case "unknown":
            return NotFound(f"{name} does not exist any more")
        case "refused":
            what = "a worker has it in memory" if moved.state is State.RUNNING else "it rests for what it has asked for"
            return Conflict(
                f"{name} is {moved.state}, and only what is {_STATES} goes to another version: {what}",
                hint=f'await client.runs.pause("{run.id}")   # then move it, then resume it',
                command=f"aiki run pause {run.id}",
            )


def _unregistered(workflow: str, version: str) -> NotFound:
    return NotFound(
        f"no worker has ever served version {version!r} of workflow {workflow!r}",
        hint="start a worker that serves it",
        command="aiki worker start -m MODULE",
    )


def _unknown(wire: Wire, run_id: str) -> NotFound:
    return NotFound(f"run {run_id} does not exist in namespace {wire.namespace!r}")
