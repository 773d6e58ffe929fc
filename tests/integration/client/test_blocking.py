"""The client for code without an event loop: all of `Client`, by the same names, and never a coroutine."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiki import AikiError, Client, Handle, RunFilter, UsageError, Worker, WorkflowRun, workflow
from aiki.client.blocking import BlockingClient, BlockingRuns, BlockingWorkers, BlockingWorkflows
from aiki.client.blocking_handle import BlockingHandle
from aiki.client.blocking_schedules import BlockingSchedule, BlockingSchedules
from aiki.client.runs import Runs
from aiki.client.schedule import Schedule
from aiki.client.schedules import Schedules
from aiki.client.workers import LiveWorkers
from aiki.client.workflows import RegisteredWorkflows
from tests.servers import Aikid
from tests.waiting import ENOUGH


@workflow
async def double(run: WorkflowRun, n: int) -> int:
    return 2 * n


@pytest.fixture
def blocking(aikid: Aikid, namespace: str) -> Iterator[BlockingClient[Client]]:
    with Client.blocking(aikid.nats_url, namespace=namespace) as client:
        yield client


@contextmanager
def serving(client: BlockingClient[Client]) -> Iterator[None]:
    """Have a worker on the client's own loop."""
    worker = Worker(client.aio, workflows=[double])
    client._portal.call(worker.__aenter__)
    try:
        yield
    finally:
        client._portal.call(worker.__aexit__, None, None, None)


def methods(kind: type) -> dict[str, list[inspect.Parameter]]:
    """Return the public methods by name, with what they take beside `self`."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return {
        name: [one.replace(annotation=Any) for one in inspect.signature(function).parameters.values()][1:]
        for name, function in found
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("asynchronous", "blocks"),
    [
        (Client, BlockingClient),
        (Handle, BlockingHandle),
        (Runs, BlockingRuns),
        (Schedule, BlockingSchedule),
        (Schedules, BlockingSchedules),
        (RegisteredWorkflows, BlockingWorkflows),
        (LiveWorkers, BlockingWorkers),
    ],
)
def test_what_the_async_one_can_do_the_blocking_one_can(asynchronous: type, blocks: type) -> None:
    opened = {"open", "close"}  # by the block that a blocking one stands in
    assert methods(blocks) == {name: what for name, what in methods(asynchronous).items() if name not in opened}
    assert not any(inspect.iscoroutinefunction(method) for _, method in inspect.getmembers(blocks))


def test_members_are_there_as_on_the_async_client(blocking: BlockingClient[Client]) -> None:
    def members(one: object) -> set[str]:
        late = {name for name, member in vars(type(one)).items() if isinstance(member, property)}
        return {name for name in {*vars(one), *late} if not name.startswith("_")} - {"aio", "result_type", "transport"}

    assert members(blocking.aio) == members(blocking)
    handle = blocking.enqueue(double.bind(1))
    assert members(handle) == members(handle._handle)
    schedule = blocking.schedules.create("hourly", double.bind(1), every="1h")
    assert members(schedule) == members(schedule._schedule)


def test_each_method_of_a_schedule_answers_at_once(blocking: BlockingClient[Client]) -> None:
    made = blocking.schedules
    hourly = made.create("hourly", double.bind(2), every="1h", anchor=datetime(2026, 1, 1, tzinfo=UTC))
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, tzinfo=UTC)
    assert hourly.backfill(start, end, dry_run=True) == [start, start + timedelta(hours=1)]
    with serving(blocking):
        handles = [hourly.trigger(), *hourly.backfill(start, end)]
        assert [handle.result(timeout=ENOUGH) for handle in handles] == [4, 4, 4]
    assert [slot.result for slot in made.backfill("hourly", start, end)] == ["started"] * 2
    assert [firing.slot for firing in made.next("hourly", 2)] == hourly.next(2)
    hourly.pause(note="holidays")
    assert (hourly.info(slots=1).note, hourly.info().paused) == ("holidays", True)
    assert made.resume_batch(["hourly"]) == made.pause_batch(["hourly"]) == [None]
    hourly.resume()
    assert made.update("hourly", every="2h").seen == made.get("hourly").info(slots=0)
    assert [one.name for one in made.list()] == ["hourly"]
    hourly.delete()
    assert isinstance(made.delete_batch(["hourly"])[0], AikiError)


def test_each_method_answers_at_once(blocking: BlockingClient[Client]) -> None:
    first = blocking.enqueue(double.options(idempotency_key="a").bind(4))
    again = blocking.enqueue_many([double.options(idempotency_key="a").bind(4)])[0]
    refused = blocking.enqueue_batch([double.options(idempotency_key="a").bind(5)])[0]
    assert (again.run_id, first.created, again.created) == (first.run_id, True, False)
    assert isinstance(refused, AikiError)
    with serving(blocking):
        assert first.result(timeout=ENOUGH) == 8
        (info,) = blocking.workflows.list("double")
        assert info.live
        (worker,) = blocking.workers.list()
        assert worker.slots
        assert worker.slots >= 1
        assert blocking.enqueue("double", {"n": 1}).result(timeout=ENOUGH) == 2
    assert blocking.handle(first.run_id).status().result == 8
    assert [change.state for change in first.watch()] == ["completed"]
    assert [view.status.result for view in first.follow()] == [8]
    assert [view.status.state for view in blocking.runs.follow([first.run_id])] == ["completed"]
    assert next(blocking.runs.summaries()).counts[0].runs == 2
    assert [run.run_id for run in blocking.runs.list(limit=2).runs][1:] == [first.run_id]
    assert blocking.runs.find("double@a") == first.run_id
    assert blocking.runs.input(first.run_id) == {"n": 4}
    assert [status.state for status in blocking.runs.status([first.run_id])] == ["completed"]
    assert next(blocking.runs.history(first.run_id)).move == "enqueued"
    assert {count.runs for count in blocking.runs.summary().counts} == {2}


def test_many_runs_obey_that_are_meant_by_what_they_are(blocking: BlockingClient[Client]) -> None:
    later = double.options(delay="1h", labels={"batch": "a"})
    ids = {handle.run_id for handle in blocking.enqueue_many([later.bind(n) for n in range(3)])}
    other = blocking.enqueue(double.options(delay="1h").bind(4))
    batch, runs = RunFilter(labels={"batch": "a"}), blocking.runs
    assert {run_id for page in runs.matching(batch) for run_id in page} == ids
    for order, state in (
        (runs.pause_batch, "paused"),
        (runs.resume_batch, "scheduled"),
        (runs.wake_batch, "queued"),
        (runs.cancel_batch, "cancelled"),
    ):
        obeyed = {run.run_id: run.state for run in order(batch) if not isinstance(run, AikiError)}
        assert obeyed == dict.fromkeys(ids, state)
    assert runs.cancel_batch(batch) == [], "those that have ended are not meant"
    born = other.status().created_at
    assert list(runs.matching(RunFilter(workflow="double", before=born))) == []
    assert list(runs.matching(RunFilter(since=born, before=born + timedelta(seconds=1)))) == [[other.run_id]]
    assert other.run_id not in {run.run_id for run in runs.list(before=born).runs}


def test_a_workflow_takes_no_blocking_client(blocking: BlockingClient[Client]) -> None:
    client: Any = blocking
    with pytest.raises(UsageError, match="takes a Client, not a BlockingClient") as caught:
        _ = double.enqueue(client, 1)
    assert caught.value.hint == "a blocking client: client.enqueue(workflow.bind(...))"
    with pytest.raises(UsageError, match="takes a Client, not a BlockingClient"):
        double.handle(client, "x")
    with pytest.raises(UsageError, match="takes a Client, not a BlockingClient"):
        Worker(client, workflows=[double])
    assert blocking.runs.summary().counts == []
