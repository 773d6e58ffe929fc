"""Own how a client has runs retried, and how it gets from a run that was to the one that goes on in its place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Raw
from msgspec.structs import replace

from aiki.client import waits
from aiki.client.control import imported, person
from aiki.client.named import NamedCall, RouteBook
from aiki.client.unknown import unknown_run
from aiki.client.wire import Wire
from aiki.core.errors import AikiError, Conflict, NotFound, UsageError
from aiki.core.states import HELD
from aiki.definitions.retrying import RetryOrder
from aiki.wire.limits import RETRIED_RUNS
from aiki.wire.messages import Redone, Retry, RunStatus

RETRY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Successor:
    """The run that goes on in the place of one that was to be retried."""

    run_id: str
    is_new: bool
    """False if there was one already."""


async def retry(wire: Wire, routes: RouteBook, order: RetryOrder, run_id: str) -> Successor:
    """Retry one run. Raises NotFound, or Conflict if it cannot be retried so, with what may be said to have it done.

    A payload is checked as that of an enqueue by name: PayloadError.
    """
    request = order.to([run_id], actor=person())
    if isinstance(order.input, Mapping):
        request.input = await _input(wire, routes, run_id, order.input)
    (found,) = await _call(wire, request)
    if isinstance(found, AikiError):
        raise found
    return found


async def retry_all(wire: Wire, order: RetryOrder, run_ids: Sequence[str]) -> list[Successor | AikiError]:
    """Retry the runs, and return of each in order which goes on in its place, or why it is not retried."""
    found: list[Successor | AikiError] = []
    for start in range(0, len(run_ids), RETRIED_RUNS):
        found += await _call(wire, order.to(run_ids[start : start + RETRIED_RUNS], actor=person()))
    return found


async def _call(wire: Wire, request: Retry) -> list[Successor | AikiError]:
    reply = await wire.call(request, seconds=RETRY_SECONDS)
    each = zip(request.ids, reply.outcomes, strict=True)
    return [_refusal(run_id, one) or Successor(one.run_id, one.result == "retried") for run_id, one in each]


async def _input(wire: Wire, routes: RouteBook, run_id: str, payload: Mapping[str, Any]) -> Raw:
    run = (await waits.read(wire, [run_id])).get(run_id)
    if run is None:
        raise unknown_run(run_id, wire.namespace)
    return (await routes.to_new_run(NamedCall(run.workflow, payload, run.version), run_id)).input


def _refusal(run_id: str, redone: Redone) -> AikiError | None:
    words = redone.words()
    if not words:
        return None
    if redone.result == "unknown":
        return NotFound(words)
    if redone.result == "imported":
        return imported(run_id)
    if redone.result in ("no_task", "other"):
        return UsageError(words, hint=f'client.runs.history("{run_id}")', command=f"aiki run history {run_id}")
    hint, command = _remedy(run_id, redone)
    return Conflict(words, hint=hint, command=command)


def _remedy(run_id: str, redone: Redone) -> tuple[str | None, str | None]:
    """Return what to write, and what to type, to have a run retried all the same."""
    flags = {"done": "keep", "once": "again"}
    match redone.result:
        case "done" | "once" if redone.names and not redone.children:
            flag = flags[redone.result]
            typed = " ".join(f"--{flag} {name}" for name in redone.names)
            return f"await handle.retry({flag}={redone.names!r})", f"aiki run retry {run_id} {typed}"
        case "done":
            return "await handle.retry(force=True)", f"aiki run retry {run_id} --force"
        case "busy":
            return f'await client.handle("{redone.run_id}").status()', f"aiki status {redone.run_id}"
        case "unfit" if redone.state in HELD:
            return f'await client.runs.resume("{run_id}")', f"aiki run resume {run_id}"
        case "foreign":
            return f'await client.runs.retry("{redone.run_id}")', f"aiki run retry {redone.run_id}"
        case _:
            return None, None


# -- following


async def newest(wire: Wire, found: dict[str, RunStatus]) -> dict[str, RunStatus]:
    """Return the runs by the ids that were asked for: in the place of one that was retried its newest retry."""
    retried = {run_id: run.retried_by for run_id, run in found.items() if run.retried_by is not None}
    if not retried:
        return found
    new = await waits.read(wire, list(retried.values()))
    return found | {run_id: replace(new[by], retry_of=run_id) for run_id, by in retried.items() if by in new}


async def end(wait: Callable[[str], Awaitable[RunStatus]], run_id: str) -> RunStatus:
    """Return the run, or the newest of its retries, as soon as it has ended or needs a person. Raises NotFound."""
    run, seen = await wait(run_id), {run_id}
    while run.retried_by is not None and run.retried_by not in seen:  # whatever a daemon says, it comes to an end
        seen.add(run.retried_by)
        run = await wait(run.retried_by)
    return run if run.id == run_id else replace(run, retry_of=run_id)


async def changes(
    watch: Callable[[str], AsyncGenerator[RunStatus, None]], run_id: str
) -> AsyncGenerator[RunStatus, None]:
    """Yield the changes of a run until it has ended, or in its place those of its newest retry. Raises NotFound."""
    wanted: str | None = run_id
    seen: set[str] = set()
    while wanted is not None and wanted not in seen:
        asked, wanted = wanted, None
        seen.add(asked)
        async with aclosing(watch(asked)) as pushed:
            async for run in pushed:
                wanted = run.retried_by
                if wanted is None:
                    yield run if run.id == run_id else replace(run, retry_of=run_id)
