"""User code that goes wrong: its run fails with the line and the way out, and the worker goes on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from aiki import Client, RunFailed
from tests.servers import Aikid
from tests.waiting import ENOUGH


@pytest.fixture
async def client(aikid: Aikid, bad_input_environment: dict[str, str]) -> AsyncIterator[Client]:
    async with Client.connect(aikid.nats_url, namespace=bad_input_environment["AIKI_NAMESPACE"]) as client:
        yield client


async def failure_of(client: Client, workflow: str, kind: str) -> RunFailed:
    handle = await client.enqueue(workflow, {"kind": kind})
    with pytest.raises(RunFailed) as raised:
        await handle.result(timeout=ENOUGH)
    return raised.value


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("connection", "asyncio's create_connection() cannot be used in a workflow body"),
        ("subprocess", "asyncio's subprocess_exec() cannot be used"),
        ("executor", "asyncio's run_in_executor() cannot be used"),
        ("thread of anyio", "anyio.to_thread cannot be used"),
        ("connection in a group", "unhandled errors in a TaskGroup: UsageError: asyncio's create_connection()"),
        ("client", "asyncio's create_connection() cannot be used"),
        ("plain call", "task 'echo' was called directly"),
        ("exit", "SystemExit: 4"),
        ("interrupt", "KeyboardInterrupt"),
    ],
)
async def test_a_body_that_may_not_do_this_fails_its_run_with_the_line(client, worker, kind, says):
    failure = await failure_of(client, "body", kind)
    assert says in str(failure)
    assert "flows.py" in failure.traceback
    assert "/aiki/execution/" not in failure.traceback
    assert worker.running


def test_a_failed_run_is_shown_with_its_line_and_what_to_do_next(aiki, worker):
    done = aiki("enqueue", "body", "kind=connection", "--wait", "--timeout", "20s")
    assert (done.code, done.out) == (1, "")
    assert "move it into a task" in done.err
    assert re.search(r"^  at .*flows.py:[0-9]+ in body$", done.err, re.MULTILINE)
    assert "hint: aiki run show " in done.err


def test_a_deadlock_names_where_it_waits(aiki, worker):
    done = aiki("enqueue", "body", "kind=deadlock", "--wait", "--timeout", "20s")
    assert done.code == 1
    assert re.search(r"can never come: it waits at \S+flows.py:[0-9]+ in body", done.err)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("object", "a object is not JSON"),
        ("text for int", "expected int, got str"),
        ("nan", "nan is not a number"),
        ("large", "300,002 bytes, more than 262,144"),
        ("surrogate", "lone surrogate"),
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("recursion", "RecursionError"),
        ("text that cannot be stored", "ValueError: a\\ud800b"),
    ],
)
async def test_a_task_that_goes_wrong_fails_its_run_and_the_worker_goes_on(client, worker, kind, says):
    failure = await failure_of(client, "bad-task", kind)
    assert failure.type == "TaskFailed"
    assert says in str(failure)
    assert worker.running


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "says"), [("text", "got str"), ("nan", "got float"), ("none", "got None")])
async def test_a_result_of_another_type_fails_its_run(client, worker, kind, says):
    failure = await failure_of(client, "bad-result", kind)
    assert f"result of workflow 'bad-result': expected int, {says}" in str(failure)


def test_a_body_that_blocks_is_logged_with_its_line_and_completes(aiki, worker):
    assert aiki("enqueue", "body", "kind=block", "--wait", "--timeout", "20s").json == "went through"
    worker.wait_for_log("its workflow body has blocked the worker")


def test_what_a_body_forgets_is_logged_and_stands_in_its_history_beside_its_result(aiki, worker):
    run_id = aiki("enqueue", "body", "kind=forgotten").out.strip()
    assert aiki("wait", run_id, "--timeout", "20s").json == "went through"
    worker.wait_for_log(f"run {run_id}: task 'echo' was called and never awaited")
    told = aiki("run", "history", run_id, "-o", "json").json["history"][-1]["reason"]
    assert re.search(r"task 'echo' was called and never awaited.* at \S+flows\.py:[0-9]+ in body", told)
    assert re.search(r"made at \S+flows\.py:[0-9]+ in body failed and nobody awaited it: TaskFailed", told)
    shown = aiki("run", "show", run_id, "-o", "json").json
    assert shown["result"] == "went through"
    assert "never awaited" in shown["why"]
    assert "never awaited" in aiki("run", "history", run_id).out


def test_a_body_that_cannot_be_unwound_is_logged_and_others_go_on(aiki, worker):
    run_id = aiki("enqueue", "body", "kind=swallow").out.strip()
    worker.wait_for_log(f"run {run_id}: its body cannot be unwound")
    assert aiki("enqueue", "echo", "value=after", "--wait", "--timeout", "20s").json == "after"


def test_a_body_that_never_rests_is_logged_with_its_line_and_others_go_on(aiki, worker):
    run_id = aiki("enqueue", "body", "kind=spin").out.strip()
    worker.wait_for_log(f"run {run_id}: its workflow body has gone round")
    assert aiki("enqueue", "echo", "value=after", "--wait", "--timeout", "20s").json == "after"
    (worker.cwd / "stop-spinning").touch()
    assert aiki("wait", run_id, "--timeout", "20s").json == "went through"
