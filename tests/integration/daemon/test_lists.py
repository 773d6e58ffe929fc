"""Lists: what is asked for, newest first, with small results and errors, page by page; and counts."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import Move, State
from aiki.wire.codec import encode
from aiki.wire.limits import LISTED_BYTES
from aiki.wire.messages import End, ListReply, ListRuns, Route, RunStatus, Summary, SummaryReply
from aikid.engine import reads
from aikid.store import listing
from tests.families import adopt, attach
from tests.integration.daemon.engine import VERSION, Engine, completed, new_run, running_engine, unit

pytestmark = pytest.mark.anyio
ROOM = 64 * 1024
OF_ONE_ROUTE = 4 * 1024
"""A reply that holds a summary of no more than one route."""


async def listed(engine: Engine) -> list[list[RunStatus]]:
    """Return the pages of the whole list, in messages of ROOM bytes."""
    pages: list[list[RunStatus]] = []
    cursor = None
    while True:
        reply = await reads.answer(engine.pool, engine.namespace, ListRuns(limit=1000, cursor=cursor), room=ROOM)
        assert isinstance(reply, ListReply)
        assert len(encode(reply)) <= ROOM
        pages.append(reply.runs)
        if (cursor := reply.cursor) is None:
            return pages


async def ended(engine: Engine, end: End) -> str:
    run_id = await engine.queued_run()
    assert await engine.results(unit((await engine.claim_one()).fence, end=end)) == ["done"]
    return run_id


async def test_a_list_holds_errors_and_results_of_at_most_4_kib(engine: Engine) -> None:
    small, large = (json.dumps("x" * (LISTED_BYTES - 2 + more)).encode() for more in (0, 1))
    error = Raw(b'{"type":"E","message":"m"}')
    await ended(engine, completed(small))
    await ended(engine, completed(large))
    await ended(engine, End(Move.FAIL, error=error))
    ((failed, without, whole),) = await listed(engine)
    assert (bytes(whole.output), whole.output_bytes) == (small, None)
    assert (bytes(without.output), without.output_bytes) == (b"", LISTED_BYTES + 1)
    assert (bytes(failed.error), failed.output_bytes) == (bytes(error), None)


async def test_pages_of_a_list_lose_neither_a_run_nor_a_result(engine: Engine) -> None:
    outputs = {}
    for number in range(40):
        output = json.dumps(str(number) + "x" * 3_000).encode()
        outputs[await ended(engine, completed(output))] = output
    pages = await listed(engine)
    assert len(pages) > 1
    assert {run.id: bytes(run.output) for page in pages for run in page} == outputs


WORKFLOWS = ("a", "b")
LABELS: tuple[dict[str, str], ...] = ({}, {"env": "prod"}, {"env": "prod", "who": "x"})
ENDS = {
    State.COMPLETED: completed(),
    State.FAILED: End(Move.FAIL, error=Raw(b'{"type":"E","message":"m"}')),
    State.BLOCKED: End(Move.DIVERGE, why="w"),
    State.SLEEPING: End(Move.SLEEP, due_at=1 << 50),
    State.RETRYING: End(Move.RETRY, due_at=1 << 50),
}


async def many(engine: Engine) -> list[RunStatus]:
    """Return runs of two workflows in every state that there is, with and without labels, newest first.

    Every third has been started by the oldest.
    """
    new = [
        *(new_run(workflow=name, labels=labels) for _ in ENDS for name in WORKFLOWS for labels in LABELS),
        *(new_run(workflow=name, labels=labels) for name in WORKFLOWS for labels in LABELS),
    ]
    await engine.enqueue(*new)
    routes = [(name, VERSION) for name in WORKFLOWS]
    session = await engine.session(routes=[Route(*route) for route in routes])
    claimed = (await engine.claim_reply(session, limit=100, routes=routes)).runs
    ends = itertools.cycle(ENDS.values())
    await engine.results(*(unit(run.fence, end=next(ends)) for run in claimed[: 5 * len(ENDS)]))
    await engine.enqueue(
        *(
            new_run(workflow=name, labels=labels, priority=n)
            for n in range(3)
            for name in WORKFLOWS
            for labels in LABELS
        ),
        *(new_run(workflow=name, delay=1 << 40) for name in WORKFLOWS),
    )
    async with running_engine(engine.database, "stranger") as stranger:
        await stranger.enqueue(*(new_run(workflow=name, labels=labels) for name in WORKFLOWS for labels in LABELS))
    newest = "SELECT id::text FROM aiki.runs WHERE namespace = %s ORDER BY created_at DESC, id DESC"
    ids = [run_id for (run_id,) in await engine.execute(newest, engine.namespace)]
    await adopt(engine.database, ids[-1], *ids[:-1:3])
    return [await engine.status(run_id) for run_id in ids]


async def walked(engine: Engine, request: ListRuns) -> list[str]:
    """Return the ids that all pages of a list have, in order."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await reads.answer(engine.pool, engine.namespace, replace(request, cursor=cursor), room=ROOM)
        assert isinstance(page, ListReply)
        assert len(page.runs) <= request.limit
        found += [run.id for run in page.runs]
        if (cursor := page.cursor) is None:
            return found


async def counted(engine: Engine, request: ListRuns) -> int:
    """Return what the counts of all pages come to."""
    count = 0
    cursor: str | None = None
    while True:
        asked = replace(request, cursor=cursor, counts=True)
        page = await reads.answer(engine.pool, engine.namespace, asked, room=ROOM)
        assert isinstance(page, ListReply)
        assert not page.runs
        count += page.count
        if (cursor := page.cursor) is None:
            return count


def is_asked(run: RunStatus, request: ListRuns) -> bool:
    return (
        (not request.states or run.state in request.states)
        and request.workflow in (None, run.workflow)
        and request.labels.items() <= run.labels.items()
        and (request.since is None or run.created_at >= request.since)
        and not (request.roots and run.parent_id)
        and request.parent in (None, run.parent_id)
    )


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_each_filter_alone_and_with_others_loses_and_doubles_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 4)
    runs = await many(engine)
    assert len({run.state for run in runs}) == 8
    states: list[list[State]] = [[], *([state] for state in State), list(ENDS), [State.QUEUED, State.FAILED]]
    middle = runs[len(runs) // 2].created_at
    for of, workflow, labels, since in itertools.product(states, (None, "b"), LABELS, (None, middle)):
        request = ListRuns(of, workflow, dict(labels), since, limit)
        assert await walked(engine, request) == [run.id for run in runs if is_asked(run, request)], request


@pytest.mark.parametrize("limit", [3, 1000])
async def test_roots_and_the_children_of_a_run_are_listed_and_counted_by_each_filter(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 4)
    runs = await many(engine)
    (parent,) = {run.parent_id for run in runs} - {None}
    middle = runs[len(runs) // 2].created_at
    states: list[list[State]] = [[], [State.FAILED], [State.QUEUED, State.SLEEPING]]
    families: list[dict[str, Any]] = [{}, {"roots": True}, {"parent": parent}]
    for family, of, workflow, labels in itertools.product(families, states, (None, "b"), LABELS):
        request = ListRuns(of, workflow, dict(labels), middle if workflow else None, limit, **family)
        asked = [run.id for run in runs if is_asked(run, request)]
        assert await walked(engine, request) == asked, request
        assert await counted(engine, request) == len(asked), request


async def test_a_run_that_a_parent_has_met_by_its_key_is_one_of_its_children_once(engine: Engine) -> None:
    parent, stranger, met, own = [await engine.queued_run() for _ in range(4)]
    await adopt(engine.database, parent, own)
    await adopt(engine.database, stranger, met)
    for generation in range(3):
        await attach(engine.database, parent, met, generation=generation)
        await attach(engine.database, parent, own, generation=generation)
    assert await walked(engine, ListRuns(parent=parent, limit=1)) == [met, own]
    assert await counted(engine, ListRuns(parent=parent)) == 2
    assert await walked(engine, ListRuns(parent=stranger)) == [met]


async def test_children_of_another_namespace_are_nobodys(engine: Engine) -> None:
    parent, child = await engine.queued_run(), await engine.queued_run()
    await adopt(engine.database, parent, child)
    async with running_engine(engine.database, "stranger") as stranger:
        assert await walked(stranger, ListRuns(parent=parent)) == []
        assert await counted(stranger, ListRuns(parent=parent)) == 0


async def test_a_summary_is_that_of_all_runs(engine: Engine) -> None:
    runs = await many(engine)
    counts: Counter[tuple[str, State]] = Counter()
    cursor = None
    while True:
        reply = await reads.answer(engine.pool, engine.namespace, Summary(cursor), room=OF_ONE_ROUTE)
        assert isinstance(reply, SummaryReply)
        counts.update({(row.workflow, row.state): row.runs for row in reply.rows})
        if (cursor := reply.cursor) is None:
            break
    assert counts == Counter((run.workflow, run.state) for run in runs)
