"""Own what tests of families do over and over: units that start children, and how those stand then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from aiki.wire.messages import Arrival, ChildEnd, Claimed, End, Entry, RunOptions, StartOp, Unit
from aikid.engine import errands
from aikid.engine.changes import Changes
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, completed, new_id, unit

CHILD = "child"
"""The word by which a parked run waits for the ends of children."""


def start(**fields: Any) -> StartOp:
    """Return a start of the tests' workflow with these members and options."""
    options = {name: fields.pop(name) for name in RunOptions.__struct_fields__ if name in fields}
    op = {"id": new_id(), "workflow": WORKFLOW, "version": VERSION, "input": Raw(b"{}")} | fields
    return StartOp(**op, options=RunOptions(**options))


def starting(run: Claimed, *starts: StartOp, base: int = 0, end: End | None = None) -> Unit:
    """Return the unit that starts children, with the entry that it leaves."""
    listed = msgspec.json.encode([["child:flow", one.id, base] for one in starts])
    entries = [Entry(f"starts:{len(starts)}", True, Raw(listed), 1_000_000)]
    return msgspec.structs.replace(unit(run.fence, base, *entries, end=end), starts=list(starts))


async def parent_of(engine: Engine, *starts: StartOp, **fields: Any) -> Claimed:
    """Return a run that is claimed and has started these children."""
    await engine.queued_run(**fields)
    run = await engine.claim_one()
    assert await engine.results(starting(run, *starts)) == ["done"]
    return run


def over(child: Claimed, output: bytes = b'"done"', base: int = 0) -> Unit:
    """Return the unit by which a child ends, and says that it has a parent."""
    end = completed(output)
    end.parent = True
    return unit(child.fence, base, end=end)


def ends(arrivals: Sequence[Arrival]) -> list[tuple[str, ChildEnd]]:
    """Return the ends of children among arrivals, with the ids that their parent knows them by."""
    return [(one.name, msgspec.json.decode(one.value, type=ChildEnd)) for one in arrivals if one.kind == CHILD]


async def done(engine: Engine) -> Changes:
    """Do all errands, and return what that changed."""
    changes = Changes()
    async for one in errands.do(engine.pool):
        changes.add(one)
    return changes
