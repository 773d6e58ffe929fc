"""Workflows: options become the request to enqueue, calls are checked when they are made."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest
from msgspec import Raw

from aiki.client.named import NamedCall
from aiki.core.canonical import digest
from aiki.core.errors import PayloadError, RunEnded, UsageError
from aiki.core.retry import Retry
from aiki.core.states import State
from aiki.definitions.call import Call
from aiki.definitions.handle import Handle
from aiki.definitions.retrying import RetryOrder
from aiki.definitions.view import RunView
from aiki.definitions.why import Why, from_wire
from aiki.definitions.workflow import workflow
from aiki.inside.event import BoundEvent, Event
from aiki.inside.workflow_run import WorkflowRun
from aiki.payload import Result
from aiki.wire import codec
from aiki.wire.messages import NO_OPTIONS, Explained, FirstEvent, NewRun, RunOptions, RunStatus
from aiki.wire.messages.own_retry import OwnRetry, RetryRule
from tests.unit.payload.shapes import Item, Money

R = TypeVar("R")


@workflow(name="process-order", version="1.0.0")
async def process(run: WorkflowRun, item: Item, express: bool = False) -> Money:
    """Process it."""
    return Money(1)


@workflow
async def empty(_run: "WorkflowRun") -> None: ...


def test_a_workflow_has_a_name_a_version_and_the_parameters_after_the_run():
    assert (process.name, process.version, process.__doc__) == ("process-order", "1.0.0", "Process it.")
    assert (empty.name, empty.version) == ("empty", "1")
    assert list(process.parameters.schema()["properties"]) == ["item", "express"]
    assert bytes(empty.bind().to_new_run("r").input) == b"{}"


def test_a_workflow_cannot_be_called_and_says_what_can_be_done_with_it():
    with pytest.raises(UsageError, match="workflow 'process-order' was called like a function") as refused:
        process(None, Item("x"))  # type: ignore[operator]  # the mistake this test is about
    assert str(refused.value.hint).startswith("await process.enqueue(client, ...)")


def test_a_call_is_the_request_to_enqueue_it():
    call = process.bind(Item("x"), express=True)
    assert (call.workflow, call.version, call.result) == ("process-order", "1.0.0", process.result)
    run = call.to_new_run("id-1")
    assert (run.id, run.workflow, run.version, run.digest) == ("id-1", "process-order", "1.0.0", None)
    assert run.options is call.options is NO_OPTIONS
    assert b"options" not in codec.encode(run)
    assert process.parameters.decode(run.input) == ((), {"item": Item("x"), "express": True})
    sent = codec.decoder(NewRun).decode(codec.encode(run))
    assert process.parameters.decode(sent.input) == ((), {"item": Item("x"), "express": True})


def test_arguments_are_taken_when_the_call_is_made():
    item = Item("x")
    call = process.bind(item)
    item.tags.append("later")
    assert process.parameters.decode(call.to_new_run("r").input)[1]["item"] == Item("x")


def test_options_travel_with_the_call():
    moment = datetime(2030, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    made = process.options(
        idempotency_key="order-1",
        on_conflict="existing",
        priority=-3,
        labels={"tenant": "a"},
        start_at=moment,
        version="2",
        send=Event("approved", type=str).bind("alice"),
    )
    run = made.bind(Item("x", price=1), False).to_new_run("r")
    assert run.version == "2"
    assert run.options == made.run_options
    assert run.options == RunOptions(
        key="order-1",
        on_conflict="existing",
        priority=-3,
        labels={"tenant": "a"},
        start_at=int(moment.astimezone(UTC).timestamp()) * 1_000_000,
        send=FirstEvent("approved", Raw(b'"alice"')),
    )
    assert run.digest == digest(b'{"item":{"sku":"x"}}')
    later = made.options(start_at=None, delay="5m").bind(Item("x")).to_new_run("r")
    assert (later.options.start_at, later.options.delay, later.digest) == (None, 300_000_000, run.digest)
    assert (process.run_options, process.version) == (NO_OPTIONS, "1.0.0")


LongName = type("LongName" + "x" * 700, (Exception,), {})
"""What needs more room than there is for three of them."""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"idempotency_key": ""}, "without control characters"),
        ({"idempotency_key": "\ud800"}, "without control characters"),
        ({"idempotency_key": 7}, "idempotency_key=7: it must be 1 to 256"),
        ({"idempotency_key": "x" * 257}, r"idempotency_key='x{59}…: it must be 1 to 256"),
        ({"on_conflict": "replace"}, 'one of "error", "existing", "retry_failed", "restart"'),
        ({"priority": 101}, "-100 to 100"),
        ({"priority": 1.5}, "-100 to 100"),
        ({"priority": True}, "-100 to 100"),
        ({"labels": {"a": 1}}, "label 'a'=1"),
        ({"labels": {"a": "x" * 257}}, "at most 256 characters"),
        ({"labels": {"": "x"}}, "name is 1 to 64"),
        ({"labels": {str(n): "x" for n in range(21)}}, "at most 20 labels"),
        ({"delay": -1}, "not a duration"),
        ({"start_at": datetime(2030, 1, 1)}, "time zone"),  # noqa: DTZ001 - the mistake
        ({"start_at": datetime(2030, 1, 1, tzinfo=UTC), "delay": "5m"}, "not both"),
        ({"start_at": datetime(1969, 1, 1, tzinfo=UTC)}, "before 1970"),
        ({"timeout": 3}, "not a duration"),
        ({"timeout": "0s"}, "longer than 0"),
        ({"timeout": timedelta.max}, "between 0 and 365000 days"),
        ({"cancel_timeout": "-1m"}, "not a duration"),
        ({"cancel_timeout": "nan"}, "not a duration"),
        ({"cancel_timeout": "1000000000d"}, "between 0 and 365000 days"),
        ({"cancel_timeout": timedelta(microseconds=-1)}, "between 0 and 365000 days"),
        ({"version": 2}, "must be text"),
        ({"retry": "often"}, "retry='often': it must be a Retry"),
        ({"retry": Retry.from_delays(["1s"] * 1_000)}, "more than 2,000 bytes"),
        ({"retry": Retry.fixed(2, "1s", only_on=(LongName,) * 3)}, "more than 2,000 bytes"),
        ({"retry": Retry.fixed(10**10, "1s")}, "out of range"),
        ({"retry_from": "middle"}, 'retry_from=\'middle\': it must be "failure" or "start"'),
        ({"send": Event("approved", type=str)}, "it must be an event with its value"),
    ],
)
@pytest.mark.parametrize("named", [process, NamedCall("process-order")])
def test_options_that_make_no_sense_are_refused(named, options, reason):
    with pytest.raises(UsageError, match=reason):
        named.options(**options)


@pytest.mark.parametrize(
    ("options", "reason"), [({"retry": 3}, "must be a Retry"), ({"retry_from": ""}, '"failure" or "start"')]
)
def test_a_retry_that_makes_no_sense_is_refused_where_it_is_declared(options, reason):
    with pytest.raises(UsageError, match=reason):
        workflow(**options)(process.fn)


def test_what_is_said_of_a_runs_retry_is_put_together_and_taken_back():
    def said(made: Any) -> Any:
        return made.run_options.retry

    retry = Retry.exponential(5, "1s", only_on=LongName, never_on=(TimeoutError, ValueError), max_elapsed="1h")
    once = process.options(retry=retry)
    names = said(once).rule.only_on
    rule = RetryRule("exponential", 5, 1.0, 3600.0, (), names, ("TimeoutError", "ValueError"), 3600.0)
    assert said(once) == OwnRetry(rule)
    assert names[0].startswith(f"{__name__}.LongName")
    assert said(once.options(retry_from="start")) == OwnRetry(rule, "start")
    assert said(process.options(retry_from="start", retry=None)) == OwnRetry(None, "start")
    assert said(once.options(retry_from="start").options(retry=None, retry_from=None)) is None
    assert said(workflow(retry=retry)(process.fn)) is None, "what is declared stays with the worker"


def test_a_call_by_name_takes_the_options_of_a_workflow():
    given: dict[str, Any] = {"idempotency_key": "k", "priority": 3, "labels": {"a": "b"}, "delay": "1h", "version": "2"}
    given |= {"timeout": "30d", "cancel_timeout": "10m", "retry": Retry.fixed(3, "1s"), "retry_from": "start"}
    named = NamedCall("process-order", {"item": {"sku": "x"}}).options(**given)
    assert named.run_options == process.options(**given).run_options
    assert (named.workflow, named.payload, named.version) == ("process-order", {"item": {"sku": "x"}}, "2")
    assert named.options(priority=4).version == "2"


def test_arguments_that_do_not_fit_are_refused_when_the_call_is_made():
    with pytest.raises(PayloadError, match=r"workflow 'process-order': expected int.*\$\.item\.count"):
        process.bind(Item("x", count="2"))  # type: ignore[arg-type]  # the mistake
    with pytest.raises(UsageError, match=r"workflow 'process-order' takes \(item: .*: missing a required argument"):
        process.bind()  # type: ignore[call-arg]  # the mistake
    with pytest.raises(UsageError, match="unexpected keyword"):
        process.bind(Item("x"), run=1)  # type: ignore[call-arg]  # the mistake


class Kept:
    """A client of a kind of its own, which keeps what it is given."""

    def __init__(self) -> None:
        self.calls: list[Call[Any]] = []

    async def enqueue(self, call: Call[R], /) -> Handle[R]:
        self.calls.append(call)
        return self.handle("id-1", result=call.result)

    def handle(self, run_id: str, /, *, result: Result | None = None) -> Handle[Any]:
        return Handle(run_id, Ended(), result=result)


class Ended:
    """The way to a run that has ended."""

    run = RunStatus("id-1", "process-order", "1.0.0", State.COMPLETED, 0, output=Raw(b'{"cents":7}'))

    async def read(self, run_id: str) -> RunStatus:
        return self.run

    async def why(self, run_id: str) -> Why:
        return from_wire(Explained(run_id, "process-order", "1.0.0", State.COMPLETED, 1, []), 0)

    async def end(self, run_id: str) -> RunStatus:
        return self.run

    def follow(self, run_id: str) -> AsyncGenerator[RunView, None]:
        raise NotImplementedError

    async def changes(self, run_id: str) -> AsyncGenerator[RunStatus, None]:
        yield self.run

    async def pause(self, run_id: str, reason: str | None) -> RunStatus:
        return self.run

    async def cancel(self, run_id: str, reason: str | None, *, force: bool) -> RunStatus:
        return self.run

    async def move(self, run_id: str, version: str, *, keep_blocked: bool, force: bool) -> RunStatus:
        raise NotImplementedError

    async def wake(self, run_id: str) -> RunStatus:
        return self.run

    async def resume(self, run_id: str) -> RunStatus:
        return self.run

    async def retry(self, run_id: str, order: RetryOrder) -> tuple[str, bool]:
        return "id-2", True

    async def send(self, run_id: str, event: BoundEvent[Any], key: str | None) -> None:
        raise RunEnded("too late", run_id=run_id, event=event.event.name, result="ended", state=self.run.state)


@pytest.mark.anyio
async def test_any_client_takes_calls_and_gives_typed_handles():
    client = Kept()
    handle = await process.options(priority=3).enqueue(client, Item("x"))
    (call,) = client.calls
    assert (call.workflow, call.options.priority) == ("process-order", 3)
    assert await handle.result() == Money(7)
    assert (await process.handle(client, "id-1").status()).state is State.COMPLETED
    assert [status.ended async for status in handle.watch()] == [True]
    with pytest.raises(RunEnded):
        await handle.send(Event("approved", type=str), "alice")


@pytest.mark.anyio
async def test_an_event_that_does_not_fit_its_type_does_not_reach_the_door():
    handle: Handle[None] = Handle("id-1", Ended())
    with pytest.raises(PayloadError, match="event 'approved'"):
        await handle.send(Event("approved", type=str), 5)  # type: ignore[misc]  # the mistake
    with pytest.raises(PayloadError, match="event 'approved'"):
        await handle.send(Event("approved", type=str))  # type: ignore[arg-type]  # the mistake


def test_the_events_that_a_workflow_declares_have_names_of_their_own():
    approved, rejected = Event("approved", type=str), Event("rejected")

    @workflow(events=[approved, rejected])
    async def asking(run: WorkflowRun) -> None: ...

    assert asking.events == (approved, rejected)
    assert asking.options(priority=1).events == (approved, rejected)
    assert process.events is None
    with pytest.raises(UsageError, match="workflow 'asking': two of its events are named 'approved'"):
        workflow(name="asking", events=[approved, Event("approved")])(asking.fn)
    mistakes: tuple[Any, ...] = ("approved", ["approved"], approved)
    for mistake in mistakes:
        with pytest.raises(UsageError, match="must be a list of events"):
            workflow(name="asking", events=mistake)(asking.fn)


def test_what_does_not_await_its_enqueue_is_no_client():
    class Blocking(Kept):
        def enqueue(self, call): ...

    strangers: tuple[Any, ...] = (Blocking(), Item("x"), process, None)
    for stranger in strangers:
        with pytest.raises(UsageError, match=r"`enqueue` takes a Client, not a \w+"):
            _ = process.enqueue(stranger, Item("x"))
