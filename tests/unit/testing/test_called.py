"""What was called with what, when, and for how long: what is put on record of it for people, and what is not."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from aiki import Event, Retry, TaskFailed, WorkflowRun, task, workflow
from aiki.client.history import HistoryEntry
from aiki.core.errors import UsageError
from aiki.definitions.arguments import RecordArguments
from aiki.execution.called import Called, preview
from aiki.testing import TestEnv
from aiki.wire.limits import MESSAGE_BYTES, PREVIEW_BYTES
from aiki.wire.messages import NULL

pytestmark = pytest.mark.anyio
SECRET = "4242-4242"
LONG = "é" * 400
told = Event("told", type=str)


@dataclass
class Card:
    number: str
    cents: int = 0


@task
async def charge(card: Card, note: str = "") -> str:
    return "ok"


@task(retry=Retry.fixed(3, "2s"))
async def stumble(card: Card) -> str:
    raise TimeoutError("no answer")


@task
def in_thread(card: Card) -> str:
    return threading.current_thread().name


@workflow(version="1")
async def child(run: WorkflowRun, n: int, text: str = "") -> int:
    return n


async def history(env: TestEnv, run_id: str) -> list[HistoryEntry]:
    return [entry async for entry in env.client.runs.history(run_id)]


async def outcomes(flow: Any, *args: Any) -> list[HistoryEntry]:
    """Return the entries and tries of a run of this workflow."""
    async with TestEnv() as env:
        handle = await env.enqueue(flow, *args)
        await env.advance("1h")
        return [one for one in await history(env, handle.run_id) if one.move in ("entry", "attempt")]


# -- how much


def called(record: RecordArguments, *, room: int = MESSAGE_BYTES) -> Called:
    return Called(record, lambda: room)


def test_what_is_short_is_whole_and_of_what_is_long_its_beginning_up_to_a_whole_character():
    short = b'{"n":1}'
    assert called("preview").of(short, 0) == Raw(short)
    assert called("full").of(short, 0) == Raw(short)
    assert called("none").of(short, 0) == NULL
    form = b'{"text":"' + LONG.encode() + b'"}'
    cut = msgspec.json.decode(called("preview").of(form, 0))
    assert cut == form[: PREVIEW_BYTES - 1].decode() + "…"  # byte 256 is within a character
    assert called("full").of(form, 0) == Raw(form)


@pytest.mark.parametrize("length", [PREVIEW_BYTES - 1, PREVIEW_BYTES, PREVIEW_BYTES + 1])
def test_as_many_bytes_as_a_preview_has_are_whole(length: int):
    form = b'{"text":"' + b"x" * (length - 11) + b'"}'
    assert len(form) == length
    assert (called("preview").of(form, 0) == Raw(form)) is (length <= PREVIEW_BYTES)


def test_what_fits_no_message_with_its_outcome_is_cut():
    form = b'{"text":"' + b"x" * 200_000 + b'"}'
    assert called("full").of(form, 250_000) == Raw(form)
    assert called("full").of(form, 300_000) == preview(form)
    assert called("full", room=64 * 1024).of(form, 0) == preview(form)


def test_what_a_task_says_comes_before_what_its_workflow_says():
    form = b'{"number":"' + SECRET.encode() + b'"}'
    assert called("full").of(form, 0, "none") == NULL
    assert called("none").of(form, 0, "full") == Raw(form)


def test_of_children_that_start_together_the_first_are_told_as_a_list():
    assert called("preview").of_inputs([b'{"n":1}']) == Raw(b'{"n":1}')
    assert called("preview").of_inputs([b'{"n":1}', b'{"n":2}']) == Raw(b'[{"n":1},{"n":2}]')
    many = called("full").of_inputs(b'{"n":%d}' % n for n in range(100_000))
    assert msgspec.json.decode(many).startswith('[{"n":0},{"n":1},')
    assert msgspec.json.decode(many).endswith("…")
    assert called("none").of_inputs([b'{"n":1}']) == NULL


@pytest.mark.parametrize("record", ["all", "", 1, True])
def test_another_word_is_refused(record: Any):
    with pytest.raises(UsageError, match='must be "none", "preview" or "full"'):
        task(record_arguments=record)(charge.fn)
    with pytest.raises(UsageError, match="record_arguments"):
        workflow(record_arguments=record)(child.fn)
    with pytest.raises(UsageError, match="record_arguments"):
        charge.options(record_arguments=record)


# -- of what


async def test_a_task_is_told_with_its_arguments_without_defaults_its_worker_and_when_it_began():
    @workflow(version="1")
    async def flow(run: WorkflowRun) -> str:
        await run.sleep("5s")
        return await charge.run(run, Card(SECRET))

    sleep, one = await outcomes(flow)
    assert (one.task, one.arguments, one.worker) == ("charge", {"card": {"number": SECRET}}, "test")
    assert one.started_at == sleep.at
    assert (sleep.took, sleep.arguments) == (timedelta(seconds=5), None)


async def test_each_try_has_its_own_start_and_the_outcome_that_of_the_last():
    @workflow(version="1")
    async def flow(run: WorkflowRun) -> str:
        try:
            return await stumble.run(run, Card("1"))
        except TaskFailed as error:
            return error.type

    first, second, last = await outcomes(flow)
    assert [one.move for one in (first, second, last)] == ["attempt", "attempt", "entry"]
    begun = [one.started_at for one in (first, second, last) if one.started_at is not None]
    assert [after - before for before, after in pairwise(begun)] == [timedelta(seconds=2)] * 2
    assert [one.arguments for one in (first, second, last)] == [{"card": {"number": "1"}}] * 3


async def test_a_task_in_a_thread_begins_in_it():
    @workflow(version="1")
    async def flow(run: WorkflowRun) -> str:
        return await in_thread.run(run, Card("1"))

    (one,) = await outcomes(flow)
    assert one.started_at is not None
    assert one.started_at <= one.at


async def test_children_events_and_sends_are_told_with_what_they_carry():
    @workflow(version="1")
    async def flow(run: WorkflowRun) -> int:
        await run.send(run.run_id, told, "hello")
        await run.wait_for(told)
        a, b = await asyncio.gather(child.run(run, 1), child.run(run, 2))
        keyed = await child.options(idempotency_key="k").start(run, 3, text=LONG)
        return a + b + await keyed.result()

    lines = await outcomes(flow)
    by_kind = {str(one.key).partition(":")[0]: one for one in lines}
    assert by_kind["send"].arguments == "hello"
    assert by_kind["event"].arguments is None
    assert by_kind["starts"].arguments == [{"n": 1}, {"n": 2}]
    assert by_kind["start"].arguments.startswith('{"n":3,"text":"é')
    assert by_kind["end"].arguments is None
    assert by_kind["end"].took is not None


async def test_none_leaves_nothing_anywhere():
    secret = stumble.options(record_arguments="none")

    @workflow(version="1", record_arguments="full")
    async def flow(run: WorkflowRun) -> None:
        await charge.run(run, Card("1"))
        with suppress(TaskFailed):
            await secret.run(run, Card(SECRET))

    lines = await outcomes(flow)
    assert len(lines) == 4
    assert SECRET not in repr(lines)
    assert [one.arguments for one in lines] == [{"card": {"number": "1"}}, None, None, None]


async def test_none_tells_nothing_of_what_was_asked_where_the_code_has_changed():
    codes = [SECRET, SECRET + "-5"]

    @workflow(version="1", record_arguments="none")
    async def flow(run: WorkflowRun) -> None:
        await charge.run(run, Card(codes[0]))
        await charge.options(record_arguments="preview").run(run, Card("2"))
        await run.sleep("2h")

    async with TestEnv(always_replay=True) as env:
        handle = await env.enqueue(flow)
        await env.advance("1s")
        codes.pop(0)
        await env.advance("3h")
        status = await handle.status()
    assert (status.state, SECRET in str(status.why)) == ("blocked", False)
    assert "task charge [" in str(status.why)


async def test_what_a_workflow_says_holds_for_its_tasks_children_and_sends():
    @workflow(version="1", record_arguments="none")
    async def flow(run: WorkflowRun) -> None:
        await charge.run(run, Card(SECRET))
        await child.run(run, 1, text=SECRET)
        await run.send(run.run_id, told, SECRET)
        await charge.options(record_arguments="preview").run(run, Card("2"))

    lines = await outcomes(flow)
    assert SECRET not in repr(lines)
    assert [one.arguments for one in lines if one.arguments is not None] == [{"card": {"number": "2"}}]


async def test_full_is_told_once_of_a_call_that_is_tried_again():
    @workflow(version="1", record_arguments="full")
    async def flow(run: WorkflowRun) -> None:
        with suppress(TaskFailed):
            await stumble.run(run, Card(LONG))

    first, second, last = await outcomes(flow)
    whole = {"card": {"number": LONG}}
    assert (first.arguments, last.arguments) == (whole, whole)
    assert second.arguments.startswith('{"card":{"number":"é')
    assert len(second.arguments.encode()) <= PREVIEW_BYTES + len("…".encode())


async def test_a_retry_brings_along_when_by_whom_and_with_what():
    fails = [True]

    @task(retry=Retry.none())
    async def fragile(n: int) -> int:
        if fails:
            raise ValueError(n)
        return n

    @workflow(version="1")
    async def flow(run: WorkflowRun) -> int:
        await charge.run(run, Card("1"))
        return await fragile.run(run, 7)

    async with TestEnv() as env:
        handle = await env.enqueue(flow)
        await env.advance("1m")
        before = [one for one in await history(env, handle.run_id) if one.move == "entry"]
        fails.clear()
        new = await handle.retry()
        await env.advance("1m")
        after = [one for one in await history(env, new.run_id) if one.move == "entry"]
    assert after[:2] == before
    assert [one.worker for one in after] == ["test", "test", None, "test"]
    assert (after[-1].arguments, after[-1].value) == ({"n": 7}, 7)
