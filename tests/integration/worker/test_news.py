"""What reaches a run while a worker holds it or has parked it: events, and pauses, on real servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from msgspec import Raw

from aiki import Client, Conflict, Event, Handle, RunBlocked, Worker, WorkflowRun, task, workflow
from aiki.client.control import person
from aiki.core import failpoints
from aiki.wire import codec, subjects
from aiki.wire.limits import UNREAD_WAKES
from aiki.wire.messages import Arrival, Told
from aikid.app import App
from tests.integration.daemon.engine import locked
from tests.parts import parts
from tests.servers import Nats, Program, clean_environment
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio

approved = Event("approved", type=str)
gates: dict[str, asyncio.Event] = {}
begun: list[str] = []


@task
async def wait_at(gate: str) -> str:
    begun.append(gate)
    await gates.setdefault(gate, asyncio.Event()).wait()
    return gate


@workflow(events=[approved])
async def approval(run: WorkflowRun) -> str:
    return await run.wait_for(approved)


@workflow(events=[approved])
async def stepping(run: WorkflowRun, gates: list[str]) -> list[str]:
    return [await wait_at.run(run, gate) for gate in gates]


@workflow
async def undoing(run: WorkflowRun) -> None:
    try:
        await wait_at.run(run, "do")
    finally:
        await wait_at.run(run, "undo")


@workflow
async def resting(run: WorkflowRun, duration: str) -> str:
    await run.sleep(duration)
    return "rested"


@workflow
async def working_and_resting(run: WorkflowRun) -> str:
    await wait_at.run(run, "a")
    await run.sleep("30s")
    return "rested"


@pytest.fixture(autouse=True)
def begin() -> None:
    gates.clear()
    begun.clear()


@pytest.fixture
async def client(client_of_app: Client) -> AsyncIterator[Client]:
    yield client_of_app
    for gate in gates.values():
        gate.set()


def serving(client: Client, **options: Any) -> Worker:
    return Worker(client, workflows=[approval, stepping, undoing, resting, working_and_resting], **options)


async def until(handle: Handle[Any], state: str) -> None:
    async def reached() -> bool:
        return (await handle.status()).state.value == state

    await wait_until(reached, what=f"the run to be {state}")


async def story(client: Client, run_id: str) -> list[str]:
    return [item.move async for item in client.runs.history(run_id) if item.move != "entry"]


async def claims(handle: Handle[Any], number: int) -> bool:
    return (await handle.status()).claims == number


def until_lingering(worker: Worker, runs: int = 1) -> Any:
    return wait_until(lambda: len(parts(worker).slots._lingering) == runs, what="the run's rest")


# -- events


async def test_an_event_wakes_a_run_that_has_left_memory(client: Client) -> None:
    async with serving(client, linger="0s"):
        handle = await approval.enqueue(client)
        await until(handle, "waiting")
        await handle.send(approved, "alice")
        assert await handle.result(timeout=ENOUGH) == "alice"
    assert await story(client, handle.run_id) == ["enqueued", "claim", "wait", "arrive", "claim", "complete"]


async def test_an_event_reaches_a_run_that_lingers_in_memory(client: Client) -> None:
    async with serving(client, linger="60s", lease="300s") as worker:
        handle = await approval.enqueue(client)
        await until_lingering(worker)
        await handle.send(approved, "bob")
        assert await handle.result(timeout=ENOUGH) == "bob"
    assert await story(client, handle.run_id) == ["enqueued", "claim", "complete"]


@pytest.mark.parametrize("point", ["news.before_push", "worker.told"])
async def test_a_push_that_is_lost_is_made_good_by_a_renewal(
    client: Client, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    async with serving(client, linger="60s", lease="3s") as worker:
        handle = await approval.enqueue(client)
        await until_lingering(worker)
        armed = failpoints.parse(f"{point}=drop")[point]
        monkeypatch.setitem(failpoints._armed, point, armed)
        await handle.send(approved, "carol")
        assert await handle.result(timeout=ENOUGH) == "carol"
        assert armed.left <= 0, "the push came, or was made"
    assert await story(client, handle.run_id) == ["enqueued", "claim", "complete"]


async def test_an_event_that_comes_while_its_run_is_claimed_is_heard_of(client: Client) -> None:
    """Whether its push overtakes the claim's reply or not."""
    async with serving(client, linger="60s", lease="300s"):
        handles = [await approval.options(delay="1ms").enqueue(client) for _ in range(20)]
        await asyncio.gather(*(handle.send(approved, "dave") for handle in handles))
        assert [await handle.result(timeout=ENOUGH) for handle in handles] == ["dave"] * 20


async def test_at_most_ten_times_as_many_runs_linger_as_there_are_slots(client: Client) -> None:
    async with serving(client, linger="60s", lease="300s", max_concurrent_runs=3) as worker:
        oldest = await approval.enqueue(client)
        await until_lingering(worker)
        others = await client.enqueue_many([approval.bind() for _ in range(31)])
        await until(oldest, "waiting")
        await until_lingering(worker, 30)
        await asyncio.gather(*(handle.send(approved, "erin") for handle in (oldest, *others)))
        assert [await handle.result(timeout=ENOUGH) for handle in (oldest, *others)] == ["erin"] * 32


async def test_a_new_session_hears_what_the_lost_one_did_not(client: Client, app: App) -> None:
    async with serving(client, linger="60s", lease="300s") as worker:
        before = parts(worker).session.lease.session
        parts(worker).session._lose()
        await wait_until(lambda: parts(worker).session.lease.session != before, what="another lease")
        async with AsyncExitStack() as stack:
            other = await stack.enter_async_context(serving(client, linger="60s", lease="300s"))
            handle = await approval.enqueue(client)
            await until_lingering(other)
            await handle.send(approved, "frank")
            assert await handle.result(timeout=ENOUGH) == "frank"


KILLED = """
import asyncio
from aiki import Client, Event, Worker, WorkflowRun, workflow

approved = Event("approved", type=str)


@workflow(events=[approved])
async def approval(run: WorkflowRun) -> str:
    return await run.wait_for(approved)


async def main() -> None:
    async with Client.connect() as client, Worker(client, workflows=[approval], lease="1s", linger="60s") as worker:
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_an_event_is_kept_whose_worker_dies_of_the_word_that_it_has_come(
    client: Client, nats: Nats, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "worker.py").write_text(KILLED)
    env = clean_environment(
        AIKI_URL=nats.url, AIKI_NAMESPACE=namespace, AIKI_FAILPOINTS="worker.told=kill", PYTHONHASHSEED="0"
    )
    doomed = Program([sys.executable, "worker.py"], tmp_path, name="worker", env=env, cwd=tmp_path)
    doomed.start()
    try:
        handle = await approval.enqueue(client)
        await until(handle, "running")
        await handle.send(approved, "judy")
        await wait_until(lambda: not doomed.running, what="the worker's death")
        async with serving(client):
            assert await handle.result(timeout=ENOUGH) == "judy"
        assert (await handle.status()).claims == 2
    finally:
        doomed.close()


# -- hard ends


@pytest.mark.parametrize("point", ["news.before_push", "worker.told"])
@pytest.mark.parametrize("forced", [True, False], ids=["by force", "after its grace"])
async def test_a_hard_end_whose_push_is_lost_frees_the_slot_within_two_renewals(
    client: Client, monkeypatch: pytest.MonkeyPatch, point: str, forced: bool
) -> None:
    async with serving(client, lease="1s", max_concurrent_runs=1):
        held = await undoing.options(cancel_timeout="300ms").enqueue(client)
        await wait_until(lambda: begun == ["do"], what="the task")
        # The first word, that it is to end, comes; the next one is that it has.
        armed = failpoints.parse(f"{point}=drop@{1 if forced else 2}")[point]
        monkeypatch.setitem(failpoints._armed, point, armed)
        await held.cancel(force=forced)
        other = await stepping.enqueue(client, ["next"])
        await wait_until(lambda: begun[-1] == "next", what="a free slot", seconds=5)
        assert begun == (["do", "next"] if forced else ["do", "undo", "next"])
        assert armed.left <= 0, "the push came, or was made"
        gates["next"].set()
        assert await other.result(timeout=ENOUGH) == ["next"]


# -- what nobody has sent: whoever sees a worker's inbox can write there


def forge(app: App, worker: Worker, namespace: str, run_id: str, name: str) -> None:
    """Tell a worker of a first event of its run that was never sent."""
    arrival = Arrival(1, 1_000_000, "event", name, Raw(b'"forged"'), run_id)
    told = Told([(run_id, 1)], {run_id: [arrival]})
    app.bus.push(subjects.told(namespace, parts(worker).session.lease.session), codec.encode(told))


async def test_an_event_that_nobody_has_sent_completes_no_run(client: Client, app: App, namespace: str) -> None:
    async with serving(client, linger="60s", lease="300s") as worker:
        handle = await approval.enqueue(client)
        await until_lingering(worker)
        forge(app, worker, namespace, handle.run_id, "approved")
        await wait_until(lambda: claims(handle, 2), what="another claim")
        await handle.send(approved, "mallory was not asked")
        assert await handle.result(timeout=ENOUGH) == "mallory was not asked"
    assert await story(client, handle.run_id) == ["enqueued", "claim", "release", "claim", "complete"]


async def test_a_run_that_was_told_of_more_than_has_come_leaves_memory_all_the_same(
    client: Client, app: App, namespace: str
) -> None:
    async with serving(client, linger="1s", lease="300s") as worker:
        handle = await approval.enqueue(client)
        await until_lingering(worker)
        forge(app, worker, namespace, handle.run_id, "nobody-waits-for-it")
        await until(handle, "waiting")
        await handle.send(approved, "niaj")
        assert await handle.result(timeout=ENOUGH) == "niaj"
    moves = ["enqueued", "claim", "release", "claim", "wait", "arrive", "claim", "complete"]
    assert await story(client, handle.run_id) == moves


# -- pauses


async def test_a_pause_lets_a_running_task_end_and_starts_no_other(client: Client) -> None:
    async with serving(client, lease="300s"):
        handle = await stepping.enqueue(client, ["a", "b"])
        await wait_until(lambda: begun == ["a"], what="the first task")
        asked = await handle.pause()
        assert (asked.state.value, asked.why) == ("running", f"{person()} wants it paused")
        gates["a"].set()
        await until(handle, "paused")
        status = await handle.status()
        assert (status.tasks, begun) == (1, ["a"]), "its outcome is kept"
        gates["b"] = asyncio.Event()
        gates["b"].set()
        await handle.resume()
        assert await handle.result(timeout=ENOUGH) == ["a", "b"]
    assert begun == ["a", "b"]
    moves = await story(client, handle.run_id)
    assert moves == ["enqueued", "claim", "release", "pause", "resume", "claim", "complete"]


async def test_a_run_that_lingers_is_paused_within_a_second(client: Client) -> None:
    async with serving(client, linger="60s", lease="300s") as worker:
        sleeper, waiter = await resting.enqueue(client, "30s"), await approval.enqueue(client)
        await until_lingering(worker, 2)
        async with asyncio.timeout(patient(1)):
            for handle in (sleeper, waiter):
                await handle.pause()
                await until(handle, "paused")
        assert (await story(client, sleeper.run_id))[2:] == ["sleep", "pause"]
        assert (await story(client, waiter.run_id))[2:] == ["wait", "pause"]


async def test_what_comes_to_a_paused_run_is_seen_when_it_goes_on(client: Client) -> None:
    async with serving(client, linger="60s", lease="300s") as worker:
        handle = await approval.enqueue(client)
        await until_lingering(worker)
        await handle.pause()
        await until(handle, "paused")
        await handle.send(approved, "grace")
        assert (await handle.status()).state.value == "paused", "an event wakes no run that is held"
        await handle.resume()
        assert await handle.result(timeout=ENOUGH) == "grace"


async def test_who_waits_for_a_run_hears_who_paused_it(client: Client) -> None:
    async with serving(client, linger="60s", lease="300s") as worker:
        handle = await approval.enqueue(client)
        await until_lingering(worker)
        waiting = asyncio.create_task(handle.result(timeout=ENOUGH))
        await client.runs.pause(handle.run_id, actor="heidi")
        with pytest.raises(RunBlocked, match="is paused: heidi wants it paused"):
            await waiting


async def test_a_sleep_that_is_over_before_the_run_is_resumed_ends_at_once(client: Client) -> None:
    async with serving(client, linger="60s", lease="300s") as worker:
        handle = await resting.enqueue(client, "500ms")
        await until_lingering(worker)
        await handle.pause()
        await until(handle, "paused")
        due_at = (await handle.status()).created_at.timestamp() + 0.5
        await wait_until(lambda: parts(worker).runs.clock.now() > due_at * 1e6, what="the end of its sleep")
        await handle.resume()
        assert await handle.result(timeout=ENOUGH) == "rested"


async def test_a_run_that_was_paused_while_it_was_claimed_starts_nothing(client: Client, database: str) -> None:
    handle = await stepping.options(delay="1s").enqueue(client, ["a"])
    await client.runs.send([handle.run_id], approved, "early")
    reading = "LOCK TABLE aiki.inbox IN ACCESS EXCLUSIVE MODE"

    async def stands(condition: LiteralString) -> bool:
        # Not by the client: a status is read from the inbox, too.
        cursor = await other.execute(f"SELECT {condition} FROM aiki.runs WHERE id = %s", [handle.run_id])
        return await cursor.fetchone() == (True,)

    async with serving(client, lease="300s"), locked(database, reading) as other, asyncio.TaskGroup() as group:
        await wait_until(lambda: stands("state = 'running'"), what="the claim")
        group.create_task(handle.pause())
        await wait_until(lambda: stands("wanted IS NOT NULL"), what="the pause")
        await other.commit()
        await until(handle, "paused")
        assert begun == []


async def test_a_pause_whose_push_is_lost_is_made_good_by_a_renewal(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(client, linger="60s", lease="3s") as worker:
        handle = await approval.enqueue(client)
        await until_lingering(worker)
        monkeypatch.setitem(failpoints._armed, "worker.told", failpoints.parse("worker.told=drop")["worker.told"])
        await handle.pause()
        await until(handle, "paused")


async def test_a_resume_overtakes_a_pause_that_waits_for_a_task(client: Client) -> None:
    async with serving(client, lease="300s"):
        handle = await stepping.enqueue(client, ["a", "b"])
        await wait_until(lambda: begun == ["a"], what="the first task")
        await handle.pause()
        await handle.resume()
        for gate in ("a", "b"):
            gates.setdefault(gate, asyncio.Event()).set()
        assert await handle.result(timeout=ENOUGH) == ["a", "b"]
    assert begun == ["a", "b"]


# -- wakes


@pytest.mark.parametrize("linger", ["0s", "60s"])
async def test_a_wake_ends_a_sleep_in_memory_and_out_of_it(client: Client, linger: str) -> None:
    async with serving(client, linger=linger, lease="300s") as worker:
        handle = await resting.enqueue(client, "30s")
        await (until(handle, "sleeping") if linger == "0s" else until_lingering(worker))
        await handle.wake()
        async with asyncio.timeout(patient(5)):
            assert await handle.result() == "rested"


LAST_WAKE = "SELECT max(at_us) FROM aiki.inbox WHERE run_id = %s"


async def test_wakes_that_came_when_nothing_slept_leave_room_for_the_one_that_ends_the_next_sleep(
    client_of_app: Client, database: str
) -> None:
    async with serving(client_of_app, linger="60s", lease="300s") as worker:
        handle = await working_and_resting.enqueue(client_of_app)
        await wait_until(lambda: begun, what="its task")
        for _ in range(UNREAD_WAKES):
            await handle.wake()
        with psycopg.connect(database) as connection:
            (last,) = connection.execute(LAST_WAKE, [handle.run_id]).fetchone() or (0,)
        # The database says when a wake came, its worker when a sleep begins: by that clock, too, it is to come after.
        await wait_until(lambda: parts(worker).runs.now() > last, what="the worker's clock")
        gates["a"].set()
        await until_lingering(worker)
        await handle.wake()
        async with asyncio.timeout(patient(5)):
            assert await handle.result() == "rested"


async def test_a_run_that_waits_for_an_event_cannot_be_woken(client: Client) -> None:
    async with serving(client, linger="0s"):
        handle = await approval.enqueue(client)
        await until(handle, "waiting")
        with pytest.raises(Conflict, match="nothing in it sleeps"):
            await handle.wake()
        await handle.send(approved, "ivan")
        assert await handle.result(timeout=ENOUGH) == "ivan"
