"""Events from outside: what has become of them when the call returns, of one run, of many, and without a loop."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
from anyio import to_thread

from aiki import (
    Client,
    Conflict,
    Event,
    Handle,
    NotFound,
    Overloaded,
    PayloadError,
    RunEnded,
    State,
    UsageError,
    Worker,
    WorkflowRun,
    workflow,
)
from aiki.wire.limits import PAYLOAD_BYTES, UNREAD_EVENTS
from tests.servers import Aikid
from tests.waiting import ENOUGH

pytestmark = pytest.mark.anyio


@dataclass
class Vote:
    by: str
    weight: int = 1


approved, voted, ping = Event("approved", type=str), Event("voted", type=Vote), Event("ping")
NOBODY = str(uuid.uuid4())


@workflow(name="anything")
async def anything(run: WorkflowRun) -> None: ...


@workflow(name="declares", events=[approved, voted])
async def declares(run: WorkflowRun) -> None: ...


async def waiting_for_a_worker(client: Client) -> Handle[None]:
    return await anything.enqueue(client)


async def test_an_event_is_taken_by_a_run_that_nobody_has_begun_with(client: Client) -> None:
    handle = await waiting_for_a_worker(client)
    await handle.send(approved, "alice")
    await handle.send(ping)
    await client.handle(handle.run_id).send(voted, Vote("bob"))


async def test_what_cannot_be_sent_or_ordered_is_refused_before_anything_is_done(client: Client) -> None:
    handle = await waiting_for_a_worker(client)
    with pytest.raises(UsageError, match="a value of type str where an event belongs"):
        await handle.send("approved", "alice")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="is not a duration"):
        await handle.cancel(wait=5)  # type: ignore[arg-type]
    for reason in ("\0", "x" * 1_001):
        with pytest.raises(UsageError, match="at most 1,000 characters"):
            await handle.cancel(reason=reason)
    status = await handle.status()
    assert (status.state, status.unread) == (State.QUEUED, 0)


async def test_a_key_is_taken_once_and_only_with_the_same_value(client: Client) -> None:
    handle = await waiting_for_a_worker(client)
    await handle.send(voted, Vote("alice"), idempotency_key="click-7")
    await handle.send(voted, Vote("alice", weight=1), idempotency_key="click-7")
    (again,) = await client.runs.send([handle.run_id], voted, Vote("alice"), idempotency_key="click-7")
    assert again.repeated
    with pytest.raises(Conflict, match="another value was sent with this idempotency key"):
        await handle.send(voted, Vote("alice", weight=2), idempotency_key="click-7")
    await handle.send(approved, "alice", idempotency_key="click-7")  # a key is an event's own


async def test_a_run_that_has_ended_says_how(client: Client) -> None:
    async with Worker(client, workflows=[anything]):
        handle = await anything.enqueue(client)
        await handle.result(timeout=ENOUGH)
    with pytest.raises(RunEnded, match=f"run {handle.run_id} takes no event 'approved': it is completed") as caught:
        await handle.send(approved, "too late")
    assert (caught.value.state, caught.value.run_id, caught.value.event) == ("completed", handle.run_id, "approved")


async def test_a_run_that_does_not_exist_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match=NOBODY):
        await client.handle(NOBODY).send(ping)


async def test_what_is_too_large_or_of_another_type_is_refused_before_anything_is_sent(client: Client) -> None:
    handle = await waiting_for_a_worker(client)
    with pytest.raises(PayloadError, match=r"event 'approved' has 262,146 bytes, more than 262,144"):
        await handle.send(approved, "x" * PAYLOAD_BYTES)
    await handle.send(approved, "x" * (PAYLOAD_BYTES - 2))
    with pytest.raises(PayloadError, match=r"event 'voted': .*weight"):
        await client.runs.send([handle.run_id], voted, Vote("a", weight="2"))  # type: ignore[arg-type]  # the mistake
    with pytest.raises(UsageError, match="is not a run id"):
        await client.runs.send(["7"], ping)


async def test_an_event_that_the_workflow_does_not_declare_is_refused_with_the_one_that_was_meant(
    client: Client,
) -> None:
    async with Worker(client, workflows=[declares]):
        pass
    handle = await declares.enqueue(client)
    with pytest.raises(NotFound, match=r"workflow 'declares' declares no event 'aproved': did you mean 'approved'\?"):
        await handle.send(Event("aproved", type=str), "alice")
    with pytest.raises(NotFound, match="declares no event 'ping': it takes approved, voted"):
        await handle.send(ping)
    await handle.send(approved, "alice")


async def test_many_runs_are_sent_an_event_and_each_has_an_outcome_of_its_own(client: Client) -> None:
    async with Worker(client, workflows=[anything, declares]):
        ended = await anything.enqueue(client)
        await ended.result(timeout=ENOUGH)
    queued, picky = await waiting_for_a_worker(client), await declares.enqueue(client)
    ids = [queued.run_id, NOBODY, ended.run_id, picky.run_id]
    outcomes = await client.runs.send(ids, ping, idempotency_key="all")
    assert [outcome.run_id for outcome in outcomes] == ids
    assert [type(outcome.error) for outcome in outcomes] == [type(None), NotFound, RunEnded, NotFound]
    repeated = await client.runs.send(ids, ping, idempotency_key="all")
    assert [outcome.repeated for outcome in repeated] == [True, False, False, False]


async def test_an_event_by_name_is_read_by_what_the_workflow_declares(client: Client) -> None:
    async with Worker(client, workflows=[declares]):
        pass
    handles = [await declares.enqueue(client), await waiting_for_a_worker(client)]
    ids = [handle.run_id for handle in handles]
    with pytest.raises(PayloadError, match=r"\$\.weight: must be integer, not 'two', in event 'voted' of 'declares' 1"):
        await client.runs.send(ids, "voted", {"by": "alice", "weight": "two"})
    assert [outcome.error for outcome in await client.runs.send(ids, "voted", {"by": "a"}, idempotency_key="k")] == [
        None,
        None,
    ]
    # The digest is that of the typed value, whose default counts for nothing.
    (typed, _) = await client.runs.send(ids, voted, Vote("a", 1), idempotency_key="k")
    assert typed.repeated


async def test_a_run_is_enqueued_with_its_event_or_found_and_sent_it(client: Client) -> None:
    told = anything.options(idempotency_key="k", on_conflict="existing", send=approved.bind("alice"))
    async with Worker(client, workflows=[declares]):
        pass
    first, again = await told.enqueue(client), await told.enqueue(client)
    assert (first.created, again.created, again.run_id) == (True, False, first.run_id)
    assert (await first.status()).unread == 2
    named = await client.enqueue("declares", send=voted.bind(Vote("bob")))
    assert (await named.status()).unread == 1
    with pytest.raises(NotFound, match="declares no event 'ping'"):
        await declares.options(send=ping.bind()).enqueue(client)
    with pytest.raises(PayloadError, match="more than 262,144"):
        await declares.options(send=approved.bind("x" * (PAYLOAD_BYTES - 2))).enqueue(client)


async def test_a_run_that_is_found_ended_is_named_by_the_error(client: Client) -> None:
    told = anything.options(idempotency_key="k", send=approved.bind("alice"))
    async with Worker(client, workflows=[anything]):
        first = await told.enqueue(client)
        await first.result(timeout=ENOUGH)
        with pytest.raises(RunEnded, match="it is completed") as caught:
            await told.enqueue(client)
        assert (caught.value.run_id, caught.value.event) == (first.run_id, "approved")
        (refused, made) = await client.enqueue_batch([told.bind(), anything.bind()])
        assert isinstance(refused, RunEnded)
        assert isinstance(made, Handle)


async def test_a_run_with_too_many_unread_events_takes_no_more_and_has_lost_none(client: Client) -> None:
    handle = await waiting_for_a_worker(client)
    outcomes = await client.runs.send([handle.run_id] * UNREAD_EVENTS, voted, Vote("a"))
    assert not any(outcome.error for outcome in outcomes)
    (full,) = await client.runs.send([handle.run_id], voted, Vote("b"))
    assert isinstance(full.error, Overloaded)
    assert "it has 10,000 that it has not taken yet" in str(full.error)


async def test_code_without_a_loop_sends_events_too(aikid: Aikid, namespace: str, client: Client) -> None:
    handle = await waiting_for_a_worker(client)

    def script() -> None:
        with Client.blocking(aikid.nats_url, namespace=namespace) as blocking:
            blocking.handle(handle.run_id).send(approved, "alice", idempotency_key="k")
            (outcome,) = blocking.runs.send([handle.run_id], approved, "alice", idempotency_key="k")
            assert outcome.repeated
            with pytest.raises(NotFound):
                blocking.handle(NOBODY).send(ping)

    await to_thread.run_sync(script)
    assert (await handle.status()).state is State.QUEUED
