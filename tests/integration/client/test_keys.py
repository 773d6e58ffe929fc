"""Idempotency keys (promise P5): one run per key, whoever enqueues it, through whichever daemon."""

from __future__ import annotations

import anyio
import pytest

from aiki import Client, Conflict, Handle, NotFound, Worker, WorkflowRun, workflow
from tests.servers import Aikids, Nats
from tests.waiting import ENOUGH

pytestmark = pytest.mark.anyio


@workflow
async def double(run: WorkflowRun, n: int, note: str = "") -> int:
    return 2 * n


async def test_the_same_key_and_input_give_the_same_run(client: Client) -> None:
    keyed = double.options(idempotency_key="a")
    first = await keyed.enqueue(client, 4)
    again = await keyed.enqueue(client, 4, note="")
    assert again.run_id == first.run_id
    assert (first.created, again.created) == (True, False)
    async with Worker(client, workflows=[double]):
        assert await again.result(timeout=ENOUGH) == 8
    # Also after the run has ended.
    assert (await keyed.enqueue(client, 4)).run_id == first.run_id


async def test_another_input_is_a_conflict_that_names_the_run(client: Client) -> None:
    first = await double.options(idempotency_key="a").enqueue(client, 4)
    with pytest.raises(Conflict, match=first.run_id):
        await double.options(idempotency_key="a").enqueue(client, 5)
    existing = await double.options(idempotency_key="a", on_conflict="existing").enqueue(client, 5)
    assert (existing.run_id, existing.created) == (first.run_id, False)


async def test_by_name_and_by_object_have_one_key(client: Client) -> None:
    async with Worker(client, workflows=[double]):
        first = await double.options(idempotency_key="k").enqueue(client, 4)
        named = await client.enqueue("double", {"n": 4, "note": ""}, idempotency_key="k")
        assert named.run_id == first.run_id
        with pytest.raises(Conflict):
            await client.enqueue("double", {"n": 4, "note": "x"}, idempotency_key="k")


async def test_two_clients_race_through_two_daemons(start_aikid: Aikids, nats: Nats, namespace: str) -> None:
    start_aikid()
    start_aikid()
    ids: dict[str, set[str]] = {}
    made: dict[str, int] = {}

    async def enqueue(client: Client, key: str) -> None:
        handle: Handle[int] = await double.options(idempotency_key=key).enqueue(client, 1)
        ids.setdefault(key, set()).add(handle.run_id)
        made[key] = made.get(key, 0) + handle.created

    async with (
        Client.connect(nats.url, namespace=namespace) as one,
        Client.connect(nats.url, namespace=namespace) as other,
    ):
        async with anyio.create_task_group() as group:
            for number in range(50):
                for client in (one, other, one, other):
                    group.start_soon(enqueue, client, f"key-{number}")
        assert all(len(found) == 1 for found in ids.values())
        # A run that its own repeat finds (a lost reply) counts as made, so there is at least one.
        assert all(count == 1 for count in made.values())
        assert sum(row.runs for row in (await one.runs.summary()).counts) == 50


async def test_a_batch_with_refusals_enqueues_the_rest(client: Client) -> None:
    await double.options(idempotency_key="taken").enqueue(client, 1)
    calls = [double.options(idempotency_key=key).bind(2) for key in ("x", "taken", "y")]
    with pytest.raises(Conflict) as caught:
        await client.enqueue_many(calls)
    assert "1 of 3" in caught.value.facts[0]
    outcomes = await client.enqueue_batch(calls)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Handle", "Conflict", "Handle"]


async def test_keys_are_apart_between_namespaces_and_workflows(client: Client, namespace: str) -> None:
    mine = await double.options(idempotency_key="k").enqueue(client, 1)
    async with Client.connect(client.transport.url, namespace=f"{namespace}-2") as stranger:
        theirs = await double.options(idempotency_key="k").enqueue(stranger, 2)
        assert theirs.created
        with pytest.raises(NotFound):
            await stranger.handle(mine.run_id).status()
