"""Clocks that are set, and machines that sleep, under a daemon and a worker: what waits, what runs, and who has it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from aiki import Client, Event, EventTimeout, Handle, State, Worker, Workflow, WorkflowRun, task, workflow
from aikid.app import App
from tests.clocks import HOUR, set_database_clock, sleep_machine
from tests.parts import parts
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio

DAY = 24 * HOUR
approved = Event("approved", type=str)
gates: dict[str, asyncio.Event] = {}
begun: list[str] = []


@task
async def at_gate(name: str) -> str:
    begun.append(name)
    await gates.setdefault(name, asyncio.Event()).wait()
    return name


@workflow
async def gated(run: WorkflowRun, name: str) -> str:
    await at_gate.run(run, name)
    return await at_gate.run(run, f"{name}, again")


@workflow
async def sleeping(run: WorkflowRun, milliseconds: int) -> str:
    began = run.now()
    await run.sleep(timedelta(milliseconds=milliseconds))
    assert run.now() - began >= timedelta(milliseconds=milliseconds)
    return "slept"


@workflow
async def working_and_sleeping(run: WorkflowRun, name: str) -> str:
    await at_gate.run(run, name)
    await run.sleep("100ms")
    return "slept"


@workflow(events=[approved])
async def waiting(run: WorkflowRun) -> str:
    try:
        return await run.wait_for(approved, timeout="30m")
    except EventTimeout:
        return "nobody approved"


FLOWS: list[Workflow[..., Any]] = [gated, sleeping, working_and_sleeping, waiting]


@pytest.fixture(autouse=True)
def closed_gates() -> None:
    gates.clear()
    begun.clear()


def open_gate(name: str) -> None:
    gates.setdefault(name, asyncio.Event()).set()


async def until_state(handle: Handle[Any], state: State) -> None:
    async def stands() -> bool:
        return (await handle.status()).state is state

    await wait_until(stands, what=f"a run that is {state}")


async def moves(client: Client, handle: Handle[Any]) -> list[str]:
    return [item.move async for item in client.runs.history(handle.run_id) if item.move != "entry"]


async def sessions(database: str) -> list[str]:
    async with await psycopg.AsyncConnection.connect(database) as connection:
        rows = await connection.execute("SELECT id::text FROM aiki.sessions WHERE closed_at IS NULL")
        return [row[0] for row in await rows.fetchall()]


async def test_a_clock_set_forward_wakes_what_is_due_by_it_and_takes_no_run_from_its_worker(
    client_of_app: Client, database: str
) -> None:
    async with Worker(client_of_app, workflows=FLOWS, drain="1s", linger="0s"):
        held = await gated.enqueue(client_of_app, "held")
        soon, late = [await sleeping.enqueue(client_of_app, minutes * 60_000) for minutes in (30, 90)]
        unapproved = await waiting.enqueue(client_of_app)
        await wait_until(lambda: begun == ["held"], what="the task")
        for handle, state in ((soon, State.SLEEPING), (late, State.SLEEPING), (unapproved, State.WAITING)):
            await until_state(handle, state)
        (session,) = await sessions(database)
        await set_database_clock(database, ahead_seconds=HOUR)
        assert await soon.result(timeout=ENOUGH) == "slept"
        assert await unapproved.result(timeout=ENOUGH) == "nobody approved"
        for name in ("held", "held, again"):
            open_gate(name)
        assert await held.result(timeout=ENOUGH) == "held, again"
        assert (await late.status()).state is State.SLEEPING
        assert await sessions(database) == [session]
    assert begun == ["held", "held, again"]
    assert await moves(client_of_app, held) == ["enqueued", "claim", "complete"]


async def test_what_begins_after_a_clock_was_set_back_sleeps_as_long_as_it_says(
    client_of_app: Client, database: str
) -> None:
    open_gate("work")
    async with Worker(client_of_app, workflows=FLOWS, drain="1s"):
        before = await working_and_sleeping.enqueue(client_of_app, "work")
        assert await before.result(timeout=ENOUGH) == "slept"
        await set_database_clock(database, ahead_seconds=-HOUR)
        after = await working_and_sleeping.enqueue(client_of_app, "work")
        assert await after.result(timeout=ENOUGH) == "slept"
        shown = (await after.status()).created_at
        assert abs(datetime.now(UTC) - timedelta(hours=1) - shown) < timedelta(minutes=5)


async def test_what_sleeps_when_the_clock_is_set_back_sleeps_until_its_date(
    client_of_app: Client, database: str
) -> None:
    async with Worker(client_of_app, workflows=FLOWS, drain="1s", linger="0s"):
        sleeper = await sleeping.enqueue(client_of_app, 1_000)
        await until_state(sleeper, State.SLEEPING)
        await set_database_clock(database, ahead_seconds=-HOUR)
        other = await sleeping.enqueue(client_of_app, 1_000)
        assert await other.result(timeout=ENOUGH) == "slept"
        assert (await sleeper.status()).state is State.SLEEPING
        await set_database_clock(database, ahead_seconds=0)
        assert await sleeper.result(timeout=ENOUGH) == "slept"


async def test_a_run_under_way_is_late_once_when_the_clock_is_set_back(client_of_app: Client, database: str) -> None:
    """Its own time never goes back, so what it waits for next is due by that."""
    async with Worker(client_of_app, workflows=FLOWS, drain="1s"):
        handle = await working_and_sleeping.enqueue(client_of_app, "work")
        await wait_until(lambda: begun == ["work"], what="the task")
        await set_database_clock(database, ahead_seconds=-HOUR)
        open_gate("work")
        await until_state(handle, State.SLEEPING)
        await set_database_clock(database, ahead_seconds=0)
        assert await handle.result(timeout=ENOUGH) == "slept"


async def test_a_machine_that_slept_with_all_that_it_ran_goes_on_where_it_was(
    client_of_app: Client, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Worker(client_of_app, workflows=FLOWS, drain="1s") as worker:
        held = await gated.enqueue(client_of_app, "held")
        await wait_until(lambda: begun == ["held"], what="the task")
        (session,) = await sessions(database)
        sleep_machine(monkeypatch, 2 * HOUR)
        assert not parts(worker).session.lease.is_certain()
        await set_database_clock(database, ahead_seconds=2 * HOUR)
        for name in ("held", "held, again"):
            open_gate(name)
        assert await held.result(timeout=ENOUGH) == "held, again"
        assert await sessions(database) == [session]
    assert begun == ["held", "held, again"]
    assert await moves(client_of_app, held) == ["enqueued", "claim", "complete"]


async def test_a_worker_that_slept_alone_begins_nothing_of_what_is_anothers_by_now(
    client_of_app: Client, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its renewal follows at once, though its loops know nothing of the sleep, and a third of the lease is ahead."""
    async with Worker(client_of_app, workflows=FLOWS, drain="1s", lease="60s") as worker:
        held = await gated.enqueue(client_of_app, "held")
        await wait_until(lambda: begun == ["held"], what="the task")
        lease = parts(worker).session.lease
        with monkeypatch.context() as asleep:
            async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
                await connection.execute("UPDATE aiki.sessions SET closed_at = now(), expires_at = now()")
            sleep_machine(asleep, 2 * HOUR)
            open_gate("held")
            open_gate("held, again")
            await wait_until(lambda: parts(worker).session.lease is not lease, patient(3), what="another session")
            assert await held.result(timeout=ENOUGH) == "held, again"
    assert await moves(client_of_app, held) == ["enqueued", "claim", "rescue", "claim", "complete"]
    assert begun.count("held, again") == 1


async def test_schedules_take_a_clock_set_forward_for_an_outage_and_fire_nothing_twice_when_it_is_set_back(
    app: App, client_of_app: Client, database: str
) -> None:
    async def fired() -> dict[str, int]:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
            await connection.execute("UPDATE aiki.schedules SET due_at = aiki.now()")
            await app.scheduler.run_once()
            rows = await connection.execute(
                "SELECT s.name, count(*) FROM aiki.slots f JOIN aiki.schedules s ON s.id = f.schedule_id"
                " WHERE f.result = 'started' GROUP BY s.name"
            )
            return dict(await rows.fetchall())

    anchor = datetime.now(UTC) - timedelta(minutes=30)
    for policy in ("none", "latest", "all"):
        await client_of_app.schedules.create(
            policy, sleeping.bind(0), every="1h", anchor=anchor, overlap="allow", catch_up=policy, window="3h"
        )
    await set_database_clock(database, ahead_seconds=2 * HOUR)
    once = await fired()
    assert once == {"latest": 1, "all": 2}
    await set_database_clock(database, ahead_seconds=0)
    assert await fired() == once
    await set_database_clock(database, ahead_seconds=2 * HOUR)
    assert await fired() == once
    await set_database_clock(database, ahead_seconds=3 * HOUR)
    assert await fired() == {"latest": 2, "all": 3}


async def test_a_process_whose_date_is_a_day_off_changes_nothing(
    client_of_app: Client, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() - DAY)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() - round(DAY * 1e9))
    open_gate("work")
    async with Worker(client_of_app, workflows=FLOWS, drain="1s", linger="0s"):
        handle = await working_and_sleeping.enqueue(client_of_app, "work")
        assert await handle.result(timeout=ENOUGH) == "slept"
        items = [item async for item in client_of_app.runs.history(handle.run_id)]
    assert all(abs(datetime.now(UTC) - item.at) < timedelta(minutes=5) for item in items)
