"""Reads that no index answers look at a window of the table at a time, and lose and double nothing at its edges."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator

import pytest

from aiki.core.errors import UsageError
from aiki.core.states import State
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Find, FindReply, ListReply, ListRuns, Summary, SummaryReply
from aikid.engine import reads
from aikid.store import reads as store
from tests.integration.daemon.engine import Engine, running_engine

pytestmark = pytest.mark.anyio

NAMESPACE = "windows"
WINDOW = 4
numbers = itertools.count(1)


@pytest.fixture
async def engine(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """Return an engine that looks at WINDOW runs at a time, among the runs of others."""
    monkeypatch.setattr(store, "SCANNED", WINDOW)
    async with running_engine(database, NAMESPACE) as engine:
        await engine.execute("DELETE FROM aiki.runs")
        yield engine


async def insert(engine: Engine, states: list[State], *, namespace: str = NAMESPACE) -> list[str]:
    """Add a run in each of the states, and return their ids, oldest first."""
    ids = [str(uuid.UUID(int=next(numbers))) for _ in states]
    for run_id, state in zip(ids, states, strict=True):
        await engine.execute(
            "INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input)"
            " VALUES (%s, %s, %s, 'flow', '1.0', %s, '{}')",
            run_id, run_id, namespace, state.value,
        )  # fmt: skip
    return ids


async def listed(engine: Engine, *, limit: int, states: list[State]) -> tuple[list[str], int]:
    """Return the ids of all pages, and how many of these were empty."""
    found: list[str] = []
    empty, cursor = 0, None
    while True:
        request = ListRuns(states=states, limit=limit, cursor=cursor)
        reply = await reads.answer(engine.pool, NAMESPACE, request, room=MESSAGE_BYTES)
        assert isinstance(reply, ListReply)
        found += [run.id for run in reply.runs]
        empty += not reply.runs
        if (cursor := reply.cursor) is None:
            return found, empty


@pytest.mark.parametrize("limit", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 100])
@pytest.mark.parametrize("count", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
async def test_a_list_has_each_run_once_wherever_its_windows_end(engine: Engine, limit: int, count: int) -> None:
    ids = await insert(engine, [State.QUEUED] * count)
    assert (await listed(engine, limit=limit, states=[]))[0] == ids[::-1]


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
async def test_a_rare_run_is_found_behind_windows_of_others(engine: Engine, state: State) -> None:
    (rare,) = await insert(engine, [state])
    await insert(engine, [State.QUEUED] * 2 * WINDOW)
    await insert(engine, [State.FAILED] * 2 * WINDOW, namespace="other")
    found, empty = await listed(engine, limit=10, states=[state])
    assert found == [rare]
    # What is in trouble has an index of its own, so nothing else is looked at.
    assert empty == (0 if state is State.FAILED else 4)


async def test_the_end_of_an_id_is_looked_for_window_by_window(engine: Engine) -> None:
    (wanted,) = await insert(engine, [State.QUEUED])
    await insert(engine, [State.QUEUED] * 2 * WINDOW)
    found: list[str] = []
    requests, cursor = 0, None
    while requests == 0 or cursor is not None:
        reply = await reads.answer(engine.pool, NAMESPACE, Find(wanted[-12:], cursor), room=MESSAGE_BYTES)
        assert isinstance(reply, FindReply)
        found += reply.ids
        requests, cursor = requests + 1, reply.cursor
    assert (found, requests) == ([wanted], 3)


@pytest.mark.parametrize("count", [0, 1, WINDOW, 2 * WINDOW + 1])
async def test_a_summary_is_the_sum_of_its_parts(engine: Engine, count: int) -> None:
    await insert(engine, [State.QUEUED, State.COMPLETED] * count)
    await insert(engine, [State.QUEUED] * count, namespace="other")
    total = {State.QUEUED: 0, State.COMPLETED: 0}
    cursor = None
    while True:
        reply = await reads.answer(engine.pool, NAMESPACE, Summary(cursor), room=MESSAGE_BYTES)
        assert isinstance(reply, SummaryReply)
        for row in reply.rows:
            total[row.state] += row.runs
        if (cursor := reply.cursor) is None:
            break
    assert total == {State.QUEUED: count, State.COMPLETED: count}


@pytest.mark.parametrize("cursor", ["", "1", "x+1", str(uuid.UUID(int=1)), f"{'f' * 36}+1", "+9999999999"])
async def test_a_cursor_of_nobody_is_refused(engine: Engine, cursor: str) -> None:
    with pytest.raises(UsageError):
        await reads.answer(engine.pool, NAMESPACE, Summary(cursor), room=MESSAGE_BYTES)
