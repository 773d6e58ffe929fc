"""Own how a client asks why runs do not move: of few at a time, and of none where the daemon cannot say."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from aiki.client.wire import Wire
from aiki.core.errors import AikiError, NotFound
from aiki.core.states import TERMINAL
from aiki.definitions import why
from aiki.definitions.why import Why
from aiki.wire import messages
from aiki.wire.limits import WHY_RUNS
from aiki.wire.messages import RunStatus


async def explain(wire: Wire, run_id: str) -> Why:
    """Return why a run does not move; the worker that holds it is asked, too. Raises NotFound."""
    reply = await wire.call(messages.Why([run_id]))
    if not reply.runs:
        raise NotFound(
            f"run {run_id} does not exist in namespace {wire.namespace!r}",
            hint="await client.runs.list()",
            command="aiki run list",
        )
    return why.from_wire(reply.runs[0], reply.now)


async def explained(wire: Wire, found: Mapping[str, RunStatus]) -> dict[str, RunStatus]:
    """Return runs as they were read, those of a few that have not ended each with the sentence for that."""
    going = list(dict.fromkeys(run.id for run in found.values() if run.state not in TERMINAL))
    if not 0 < len(going) <= WHY_RUNS:
        return dict(found)
    try:
        # Of one its worker is asked, too: of many at once that would cost each of their workers a look.
        reply = await wire.call(messages.Why(going, look=len(going) == 1))
    except AikiError:  # it was read, and stands as it is: what would be said of it besides must not take that away
        return dict(found)
    told = {(one.id, one.state, one.claims): why.sentence(one, reply.now) for one in reply.runs}

    def with_sentence(run: RunStatus) -> RunStatus:
        # One that has moved meanwhile is told as it was read.
        said = told.get((run.id, run.state, run.claims))
        return run if said is None else replace(run, sentence=said)

    return {run_id: with_sentence(run) for run_id, run in found.items()}
