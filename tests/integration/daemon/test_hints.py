"""The hint stream and neighbours who may publish there: it stays small, and real runs start as if it were empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from aiki import Client, Worker, WorkflowRun, task, workflow
from aiki.nats import Connection
from aiki.wire import subjects
from aiki.wire.limits import HINTS_PER_ROUTE
from aiki.worker import claims as claiming
from aikid.bus import HINT_BYTES, HINT_SECONDS, HINT_STREAM_BYTES
from aikid.jetstream import SECOND, ConsumerInfo, JetStream, JetStreamRefused
from tests import servers
from tests.parts import parts
from tests.servers import Aikids, Nats
from tests.servers.proxy import running_proxy
from tests.strangers.stranger import stranger
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
FLOOD = 20_000
"""Messages of a stranger, at a time."""


@task
async def double(n: int) -> int:
    return 2 * n


@workflow
async def doubles(run: WorkflowRun, n: int) -> int:
    return await double.run(run, n)


class Stream:
    """What JetStream says of the hint stream."""

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def info(self, part: str) -> dict[str, Any]:
        """Return its `config` or `state`; nothing while there is none."""
        try:
            told: Any = await self._jetstream.ask(f"STREAM.INFO.{subjects.HINT_STREAM}")
        except JetStreamRefused:
            return {}
        found: dict[str, Any] = told[part]
        return found

    async def consumer(self, namespace: str) -> ConsumerInfo:
        """Return what it says of the workflow's consumer, which stands there as soon as a pull waits at it."""
        name = subjects.consumer(namespace, doubles.name, doubles.version)
        return await self._jetstream.ask(f"CONSUMER.INFO.{subjects.HINT_STREAM}.{name}", answer=ConsumerInfo)

    async def limited(self) -> dict[str, Any]:
        """Return its settings as soon as they have limits."""

        async def found() -> Any:
            config = await self.info("config")
            return config if config.get("max_bytes", -1) > 0 else None

        config: dict[str, Any] = await wait_until(found, what="limits of the hint stream")
        return config

    async def seal(self) -> None:
        """Let it take nothing more."""
        await self._jetstream.ask(
            f"STREAM.UPDATE.{subjects.HINT_STREAM}", {**await self.info("config"), "sealed": True}
        )

    async def make(self, **limits: Any) -> None:
        """Make it as an older aikid did: without limits but these."""
        config = {
            "name": subjects.HINT_STREAM,
            "subjects": [subjects.HINT_SUBJECTS],
            "retention": "workqueue",
            "discard": "new",
            "discard_new_per_subject": True,
            "max_msgs_per_subject": HINTS_PER_ROUTE,
            **limits,
        }
        await self._jetstream.ask(f"STREAM.CREATE.{subjects.HINT_STREAM}", config)


@asynccontextmanager
async def stream_of(nats: Nats) -> AsyncIterator[Stream]:
    connection = Connection([nats.url], name="test")
    await connection.connect(seconds=patient(5))
    try:
        yield Stream(JetStream(connection, seconds=patient(5)))
    finally:
        await connection.close()


async def fill(url: str, stream: Stream, *, bytes: int) -> None:
    """Publish as a stranger to routes that nobody serves until so much is stored, or no more is taken."""
    payload = b"x" * HINT_BYTES
    stored = -1
    async with stranger(url) as one:
        for turn in range(1_000):
            await one.send(
                b"PUB aiki.v1.others.run.w%d-%d.1 %d\r\n%b\r\n" % (turn, n, len(payload), payload) for n in range(FLOOD)
            )
            state = await stream.info("state")
            if state["bytes"] >= bytes or state["bytes"] == stored:
                return
            stored = state["bytes"]


async def test_the_stream_has_limits_also_where_an_older_aikid_has_made_it(start_aikid: Aikids) -> None:
    with servers.running_nats() as nats:
        async with stream_of(nats) as stream:
            await stream.make()
            start_aikid(nats_url=nats.url)
            config = await stream.limited()
            assert (config["max_bytes"], config["max_msg_size"]) == (HINT_STREAM_BYTES, HINT_BYTES)
            assert (config["max_age"], config["max_msgs_per_subject"]) == (HINT_SECONDS * SECOND, HINTS_PER_ROUTE)
            assert (config["discard"], config["retention"]) == ("old", "workqueue")


async def test_limits_that_a_person_chose_are_kept(start_aikid: Aikids) -> None:
    with servers.running_nats() as nats:
        async with stream_of(nats) as stream:
            await stream.make(max_bytes=8 * MB, max_age=60 * SECOND)
            start_aikid(nats_url=nats.url)

            async def done() -> Any:
                return (await stream.info("config"))["discard"] == "old"

            await wait_until(done, what="the limits that it lacks")
            config = await stream.info("config")
            assert (config["max_bytes"], config["max_age"]) == (8 * MB, 60 * SECOND)
            assert config["max_msg_size"] == HINT_BYTES


@contextmanager
def handing_nothing_over(nats: Nats) -> Iterator[str]:
    """Run a proxy that loses a worker's word that runs may be handed over, and yield its address."""
    with running_proxy(nats.server.port) as proxy:
        proxy.lose("park")
        yield proxy.url


async def test_a_full_stream_keeps_no_hint_from_its_worker(start_aikid: Aikids, namespace: str) -> None:
    """A run is started by its hint, and not seconds later by a worker that has heard nothing for long."""
    with servers.running_nats() as nats, handing_nothing_over(nats) as url:
        start_aikid(nats_url=nats.url)
        async with stream_of(nats) as stream, Client.connect(url, namespace=namespace) as client:
            await stream.limited()
            await fill(nats.url, stream, bytes=HINT_STREAM_BYTES - 2 * MB)
            async with Worker(client, workflows=[doubles]):
                # Past its first claim, which it makes without a hint.
                assert await (await doubles.enqueue(client, 1)).result(timeout=ENOUGH) == 2

                async def pulls() -> Any:
                    try:
                        return (await stream.consumer(namespace)).num_waiting
                    except JetStreamRefused:
                        return 0  # a first run may be done before its consumer is made

                for n in range(5):
                    await wait_until(pulls, what="a pull")
                    before = (await stream.consumer(namespace)).delivered.consumer_seq
                    assert await (await doubles.enqueue(client, n)).result(timeout=ENOUGH) == 2 * n
                    assert (await stream.consumer(namespace)).delivered.consumer_seq > before, "it was no hint"
            assert (await stream.info("state"))["bytes"] <= HINT_STREAM_BYTES


async def test_where_hints_get_lost_a_worker_asks_by_itself_and_soon(start_aikid: Aikids, namespace: str) -> None:
    """Whatever keeps them out of the stream: the first run waits for the worker's long look, the next ones do not."""
    with servers.running_nats() as nats, handing_nothing_over(nats) as url:
        start_aikid(nats_url=nats.url)
        async with stream_of(nats) as stream, Client.connect(url, namespace=namespace) as client:
            await stream.limited()
            async with Worker(client, workflows=[doubles], idle_poll="1500ms") as worker:
                assert await (await doubles.enqueue(client, 1)).result(timeout=ENOUGH) == 2
                await stream.seal()
                claims = parts(worker).claims
                assert not claims._is_without_hints(time.monotonic(), 1)
                assert await (await doubles.enqueue(client, 2)).result(timeout=ENOUGH) == 4
                assert claims._is_without_hints(time.monotonic(), 1)
                assert claims._seconds_to_next_step() <= claiming.CROWDED_SECONDS
                assert await (await doubles.enqueue(client, 3)).result(timeout=ENOUGH) == 6


async def test_a_strangers_hints_cost_a_claim_and_no_more(start_aikid: Aikids, namespace: str) -> None:
    with servers.running_nats() as nats:
        start_aikid(nats_url=nats.url)
        subject = subjects.hint(namespace, doubles.name, doubles.version).encode()
        async with stream_of(nats) as stream, Client.connect(nats.url, namespace=namespace) as client:
            await stream.limited()
            async with Worker(client, workflows=[doubles]), stranger(nats.url) as one:
                await one.send(
                    b"PUB %b %d\r\n%b\r\n" % (subject, size, b"\xff" * size)
                    for size in [0, 7, HINT_BYTES, HINT_BYTES + 1] * 500
                )
                handles = await client.enqueue_many(doubles.bind(n) for n in range(50))
                results = await asyncio.gather(*(handle.result(timeout=ENOUGH) for handle in handles))
                assert results == [2 * n for n in range(50)]

                async def drained() -> Any:
                    found = await stream.consumer(namespace)
                    return (found.num_pending, found.num_ack_pending) == (0, 0)

                await wait_until(drained, what="the strangers' hints to be used up")


async def test_what_a_stranger_writes_to_a_workers_inbox_is_not_remembered(start_aikid: Aikids, namespace: str) -> None:
    """Who sees the pulls sees where their hints go. It ends a pull early, which is made again."""
    with servers.running_nats() as nats:
        start_aikid(nats_url=nats.url)
        async with stranger(nats.url) as one, Client.connect(nats.url, namespace=namespace) as client:
            await one.listen("$JS.API.CONSUMER.MSG.NEXT.>")
            async with Worker(client, workflows=[doubles]) as worker:
                (pull, *_) = await wait_until(lambda: one.seen, what="a pull")
                inbox, _, consumer = pull.reply.rpartition(".")
                routes = [consumer, *(f"r{n}" for n in range(500))]
                await one.send(b"PUB %b.%b 1\r\n?\r\n" % (inbox.encode(), route.encode()) for route in routes)
                for n in range(3):
                    assert await (await doubles.enqueue(client, n)).result(timeout=ENOUGH) == 2 * n
                assert set(parts(worker).claims._pulls._resting) <= {consumer}
