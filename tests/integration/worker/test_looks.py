"""A daemon asks the worker that holds a run what stands of it in memory: what it says, and what silence costs."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aiki import Client, Event, Worker, WorkflowRun, task, task_run, workflow
from aiki.wire import codec, subjects
from aiki.wire.limits import LOOKED_ITEMS
from aiki.wire.messages import Look, Looked, LookedTry
from aikid.app import App
from aikid.tell.looks import LOOK_SECONDS
from tests.integration.worker.test_killed_worker import knows
from tests.parts import parts
from tests.servers import Nats, Program, clean_environment
from tests.strangers.stranger import pub, stranger
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio

approved = Event("approved", type=str)
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
SECRET = "4242-4242"
gate: asyncio.Event

FLOWS = """
import time
from pathlib import Path
from aiki import WorkflowRun, task, workflow


@task
async def holds(sign: str, seconds: float) -> str:
    Path(sign).touch()
    time.sleep(seconds)  # the worker's loop stands still
    return "done"


@workflow
async def holding(run: WorkflowRun, sign: str, seconds: float) -> str:
    return await holds.run(run, sign, seconds)
"""
WORKER = """
import asyncio
from aiki import Client, Worker
from flows import holding


async def main() -> None:
    async with Client.connect() as client, Worker(client, workflows=[holding], lease="300s") as worker:
        await worker.run()


asyncio.run(main())
"""


@task(record_arguments="none")
async def copy(card: str) -> str:
    task_run().progress(0.25, "files")
    await gate.wait()
    return card


@workflow
async def copying(run: WorkflowRun, cards: int) -> list[str]:
    return list(await asyncio.gather(*(copy.run(run, f"{SECRET}-{n}") for n in range(cards))))


@workflow(events=[approved])
async def approval(run: WorkflowRun) -> str:
    return await run.wait_for(approved, timeout="1h")


@pytest.fixture(autouse=True)
def begin() -> None:
    global gate
    gate = asyncio.Event()


async def session_of(app: App, run_id: str) -> str:
    """Return the session that holds the run, once one does."""

    async def held() -> Any:
        async def work(connection: Any) -> Any:
            return await (
                await connection.execute("SELECT session_id::text FROM aiki.runs WHERE id = %s", [run_id])
            ).fetchone()

        row = await app.pool.run(work)
        return row and row[0]

    return str(await wait_until(held, what="the run's claim"))


async def looked_at(app: App, namespace: str, run_id: str) -> Looked:
    session = await session_of(app, run_id)
    found = await app.looks.look(namespace, session, run_id)
    assert found is not None
    return found


async def test_a_worker_tells_which_tries_run_and_what_they_have_said(
    app: App, client_of_app: Client, namespace: str
) -> None:
    async with Worker(client_of_app, workflows=[copying]):
        handle = await copying.enqueue(client_of_app, 1)

        async def trying() -> Any:
            found = await looked_at(app, namespace, handle.run_id)
            return found if found.tries and found.tries[0].fraction is not None else None

        found: Looked = await wait_until(trying, what="the try's word")
        (one,) = found.tries
        assert (one.task, one.attempt, one.fraction, one.message) == ("copy", 1, 0.25, "files")
        assert one.started is not None
        assert one.spoke_at is not None
        assert one.started <= one.spoke_at <= found.now
        assert (found.held, found.phase, found.running, found.waiting, found.calls) == (True, "live", 1, 1, [one.key])
        assert found.lines[0].endswith(" in copying")
        assert (found.held_back, found.lingers_since) == (None, None)
        assert SECRET not in repr(found)
        gate.set()
        assert await handle.result(timeout=ENOUGH) == [f"{SECRET}-0"]


async def test_of_many_tries_the_first_are_told_and_how_many_there_are(
    app: App, client_of_app: Client, namespace: str
) -> None:
    async with Worker(client_of_app, workflows=[copying]):
        handle = await copying.enqueue(client_of_app, 2_000)

        async def trying() -> Any:
            found = await looked_at(app, namespace, handle.run_id)
            return found if found.running == 2_000 else None

        found: Looked = await wait_until(trying, what="all tries")
        assert (len(found.tries), len(found.calls), found.waiting) == (LOOKED_ITEMS, LOOKED_ITEMS, 2_000)
        assert len(codec.encode(found)) < 16 * 1024
        gate.set()
        assert len(await handle.result(timeout=ENOUGH)) == 2_000


async def test_a_run_that_lingers_tells_since_when_and_what_for(
    app: App, client_of_app: Client, namespace: str
) -> None:
    async with Worker(client_of_app, workflows=[approval], linger="60s") as worker:
        handle = await approval.enqueue(client_of_app)
        await wait_until(lambda: parts(worker).slots._lingering, what="the run's rest")
        found = await looked_at(app, namespace, handle.run_id)
        assert (found.phase, found.tries, found.held_back) == ("lingering", [], None)
        assert [key.partition(":")[2].partition(":")[0] for key in found.calls] == ["approved"]
        assert [line.partition(" in ")[2] for line in found.lines] == ["approval"]
        assert found.lingers_since is not None
        assert found.wakes_at is not None
        assert found.lingers_since <= found.now < found.wakes_at
        await handle.send(approved, "alice")
        assert await handle.result(timeout=ENOUGH) == "alice"


async def test_a_worker_says_that_it_does_not_hold_a_run(app: App, client_of_app: Client, namespace: str) -> None:
    async with Worker(client_of_app, workflows=[approval], linger="60s"):
        handle = await approval.enqueue(client_of_app)
        session = await session_of(app, handle.run_id)
        found = await app.looks.look(namespace, session, UNKNOWN)
        assert found is not None
        assert (found.held, found.phase, found.tries, found.calls) == (False, "", [], [])
        await handle.send(approved, "alice")
        await handle.result(timeout=ENOUGH)


async def test_nobody_is_waited_for_who_does_not_listen(app: App) -> None:
    assert await app.looks.look("default", UNKNOWN, UNKNOWN) is None
    assert (app.looks._open, app.looks._deaf) == ({}, {})  # the server has said so: it was no silence


@pytest.mark.parametrize("how", ["stopped", "busy"])
async def test_a_worker_that_stands_still_is_waited_for_no_longer_than_the_bound(
    how: str, app: App, client_of_app: Client, namespace: str, nats: Nats, tmp_path: Path
) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "worker.py").write_text(WORKER)
    address = {"AIKI_URL": nats.url, "AIKI_NAMESPACE": namespace}
    env = {**clean_environment(**address), "PYTHONHASHSEED": "0"}
    worker = Program([sys.executable, "worker.py"], tmp_path, name="worker", env=env, cwd=tmp_path)
    worker.start()
    try:
        await wait_until(lambda: knows(client_of_app), what="the worker's session")
        sign = tmp_path / "sign"
        seconds = 0.0 if how == "stopped" else 30.0
        handle = await client_of_app.enqueue("holding", {"sign": str(sign), "seconds": seconds})
        session = await session_of(app, handle.run_id) if how == "busy" else ""
        await wait_until(sign.exists, what="the task")
        if how == "stopped":
            (session,) = await sessions(app)
            worker.pause()
        for expected in (LOOK_SECONDS, 0.0):  # it is not asked again at once
            began = time.perf_counter()
            assert await app.looks.look(namespace, session, handle.run_id) is None
            assert expected <= time.perf_counter() - began < expected + patient(0.15)
    finally:
        worker.close()


async def sessions(app: App) -> list[str]:
    async def work(connection: Any) -> Any:
        return await (await connection.execute("SELECT id::text FROM aiki.sessions WHERE closed_at IS NULL")).fetchall()

    return [row[0] for row in await app.pool.run(work)]


async def test_what_a_neighbour_asks_is_answered_nowhere_but_to_daemons(
    app: App, client_of_app: Client, namespace: str, nats: Nats
) -> None:
    async with Worker(client_of_app, workflows=[approval], linger="60s"):
        handle = await approval.enqueue(client_of_app)
        session = await session_of(app, handle.run_id)
        subject = subjects.look(namespace, session).encode()
        question = codec.encode(Look(handle.run_id))
        other = subjects.looked("other", "d", "1").encode()
        async with stranger(nats.url) as neighbour:
            await neighbour.listen("_INBOX.mine")
            await neighbour.listen("aiki.v1.*.looked.>")
            replies = (b"", b"_INBOX.mine", other, f"aiki.v1.{namespace}.api.cancel".encode())
            await neighbour.send(pub(subject, question, reply=reply) for reply in replies)
            ours = subjects.looked(namespace, "d", "1").encode()
            bad = (b"", b"[", b"{}", b"[7]", b"[null]", b'["\xff"]', b"[" * 1_000, question + b" " * 1_000)
            await neighbour.send(pub(subject, data, reply=ours) for data in bad)
            found = await looked_at(app, namespace, handle.run_id)
            assert found.held
            answers = f"aiki.v1.{namespace}.looked.{app.looks._id}."
            await wait_until(lambda: neighbour.seen, what="the answer to the daemon")
            assert [message.subject.startswith(answers) for message in neighbour.seen] == [True]
        await handle.send(approved, "alice")
        assert await handle.result(timeout=ENOUGH) == "alice"


BAD_ANSWERS = [
    b"",
    b"[]",
    b'{"now":"x"}',
    codec.encode(Looked(0, lines=["x"] * (LOOKED_ITEMS + 1))),
    codec.encode(Looked(0, lines=["x" * 2_000])),
    codec.encode(Looked(0, tries=[LookedTry("k", "t", 1, message="x" * 300)])),
    b'{"now":1,"x":"' + b"y" * 200_000 + b'"}',
]


@pytest.mark.parametrize("answer", BAD_ANSWERS)
async def test_an_answer_that_cannot_be_read_is_none(app: App, answer: bytes) -> None:
    def reply(token: str) -> None:
        app.looks._on_answer(subjects.looked("other", "d", token), codec.encode(Looked(7)), "")  # not its namespace
        app.looks._on_answer(subjects.looked("default", "d", "unknown"), codec.encode(Looked(7)), "")
        app.looks._on_answer(subjects.looked("default", "d", token), answer, "")
        app.looks._on_answer(subjects.looked("default", "d", token), codec.encode(Looked(7)), "")  # too late

    looking = asyncio.ensure_future(app.looks.look("default", UNKNOWN, UNKNOWN))
    await asyncio.sleep(0)
    (token,) = app.looks._open
    reply(token)
    assert await looking is None
