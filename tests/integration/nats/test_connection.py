"""One connection to real servers that are restarted, frozen, replaced, and that change what they permit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import nats as nats_py
import pytest

from aiki.nats import (
    Away,
    Connection,
    Message,
    NatsError,
    NoReply,
    NoResponders,
    OnlyStored,
    Refused,
    TooLarge,
)
from aiki.nats import link as links
from aiki.process.outages import Outage
from tests.integration.nats.connecting import connected, echo
from tests.servers import Nats, free_port
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Applications run on the one, daemons and workers on the other."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def guarded(make_nats: Callable[[], Nats]) -> Nats:
    """A server with one user."""
    nats = make_nats()
    nats.guard()
    return nats


async def guard(nats: Nats, **changes: Any) -> None:
    """Change what the server holds of its user; without changes it is as it should be."""
    await anyio.to_thread.run_sync(lambda: nats.guard(**changes))


async def test_requests_pushes_and_drains(nats: Nats) -> None:
    async with connected(nats.url) as server, connected(nats.url) as client:
        echo(server, "test.echo")
        await server.flush()
        assert (await client.request("test.echo", b"hello", seconds=patient(2))).data == b"hello"
        with pytest.raises(NoResponders):
            await client.request("test.nobody", seconds=patient(2))
        server.subscribe("test.silent", lambda _: None)
        await server.flush()
        with pytest.raises(NoReply):
            await client.request("test.silent", seconds=0.05)
        got: list[Message] = []
        subscription = client.subscribe("test.push", got.append)
        await client.flush()
        for n in range(1000):
            await server.publish("test.push", b"%d" % n)
        await server.flush()
        await client.drain(subscription)
        assert [message.data for message in got] == [b"%d" % n for n in range(1000)]
        await server.publish("test.push", b"too late")
        await server.flush()
        await client.flush()
        assert len(got) == 1000


async def test_a_connection_without_echo_does_not_hear_itself(nats: Nats) -> None:
    got: list[Message] = []
    quiet = Connection([nats.url], name="quiet", echo=False)
    await quiet.connect(seconds=patient(3))
    quiet.subscribe("test.own", got.append)
    await quiet.publish("test.own", b"")
    await quiet.flush()
    await quiet.close()
    assert not got


async def test_after_a_restart_everything_is_as_before(make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    returned = asyncio.Event()
    async with connected(nats.url) as server, connected(nats.url) as client:
        echo(server, "test.echo")
        server.subscribe("test.silent", lambda _: None)
        await server.flush()
        client.on_return.append(returned.set)
        waiting = asyncio.create_task(client.request("test.silent", seconds=60))
        await client.flush()
        await anyio.to_thread.run_sync(nats.kill9)
        with pytest.raises(Away):
            await waiting
        await wait_until(lambda: not client.connected and not server.connected)
        with pytest.raises(Away, match=r"127\.0\.0\.1:\d+: Connection refused|connection was"):
            await client.request("test.echo", b"", seconds=60)
        await anyio.to_thread.run_sync(nats.start)
        async with asyncio.timeout(patient(5)):
            await returned.wait()
        await wait_until(lambda: server.connected)
        await server.flush()
        assert (await client.request("test.echo", b"again", seconds=patient(2))).data == b"again"


async def test_a_server_that_is_away_is_not_one_that_refuses(make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    async with connected(nats.url) as client:
        await anyio.to_thread.run_sync(nats.stop)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.refusals.lasting(0)
        await anyio.to_thread.run_sync(nats.start)
        await wait_until(lambda: client.connected)


async def test_changed_credentials_are_borne_until_they_are_right_again(guarded: Nats) -> None:
    async with connected(guarded.url) as server, connected(guarded.url) as client:
        echo(server, "test.echo")
        await server.flush()
        await guard(guarded, password="two")
        assert "Authorization Violation" in await client.refusals.lasting(0.3)
        with pytest.raises(Refused, match="Authorization Violation"):
            await client.request("test.echo", b"", seconds=1)
        await guard(guarded)
        await wait_until(lambda: client.connected and server.connected)
        await server.flush()
        assert (await client.request("test.echo", b"again", seconds=patient(2))).data == b"again"
        assert not client.refusals


async def test_wrong_credentials_are_told_at_once(guarded: Nats) -> None:
    connection = Connection([guarded.url.replace(":one@", ":wrong@")], name="test")
    began = time.monotonic()
    with pytest.raises(Refused, match="Authorization Violation"):
        await connection.connect(seconds=60)
    assert time.monotonic() - began < patient(5)
    await connection.close()


async def test_a_lost_subscription_is_asked_for_until_it_is_permitted(guarded: Nats) -> None:
    returned = asyncio.Event()
    async with connected(guarded.url) as connection:
        connection.on_return.append(returned.set)
        echo(connection, "test.echo")
        await connection.flush()
        await guard(guarded, permissions={"subscribe": ["_INBOX.>"]})
        assert 'Subscription to "test.echo"' in await connection.refusals.lasting(0.2)
        with pytest.raises(NoResponders):
            await connection.request("test.echo", b"", seconds=patient(2))
        assert not returned.is_set()
        await guard(guarded)
        async with asyncio.timeout(patient(5)):
            await returned.wait()
        assert (await connection.request("test.echo", b"again", seconds=patient(2))).data == b"again"
        assert not connection.refusals


async def test_a_lost_subscription_is_said_when_it_goes_and_when_it_is_back(
    guarded: Nats, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("tests.nats")
    connection = Connection([guarded.url], name="test", outage=Outage(log, "NATS"))
    await connection.connect(seconds=patient(3))
    connection.subscribe("test.lost", lambda _: None)
    caplog.set_level(logging.DEBUG, logger=log.name)

    def said(level: int) -> list[str]:
        return [one.getMessage()[:40] for one in caplog.records if one.name == log.name and one.levelno == level]

    await guard(guarded, permissions={"subscribe": ["_INBOX.>"]})
    await wait_until(lambda: len(said(logging.DEBUG)) > 1, what="further refusals")
    await guard(guarded)
    await wait_until(lambda: not connection.refusals)
    await connection.close()
    away, back = said(logging.WARNING)
    assert away == "NATS is away: it refuses us: Permissions Violation"[:40]
    assert back.startswith("NATS is back after")


async def test_a_request_that_is_not_permitted_is_refused_at_once(guarded: Nats) -> None:
    async with connected(guarded.url) as connection:
        echo(connection, "test.echo")
        await guard(guarded, permissions={"publish": ["_INBOX.>"]})
        for vital in (False, True):
            with pytest.raises(Refused, match=r'Publish to "test\.echo"'):
                await connection.request("test.echo", b"", seconds=60, vital=vital)
            assert bool(connection.refusals) == vital
        await guard(guarded)
        assert (await connection.request("test.echo", b"", seconds=patient(2), vital=True)).data == b""
        assert not connection.refusals


async def test_requests_whose_replies_are_not_permitted_are_refused_at_once(guarded: Nats) -> None:
    async with connected(guarded.url) as connection:
        echo(connection, "test.echo")
        await guard(guarded, permissions={"subscribe": ["test.>"]})
        for _ in range(2):
            with pytest.raises(Refused):
                await connection.request("test.echo", b"", seconds=60)
        await guard(guarded)
        await wait_until(lambda: not connection.refusals)
        assert (await connection.request("test.echo", b"", seconds=patient(2))).data == b""


async def test_whether_something_may_be_published_is_told_without_a_listener(guarded: Nats) -> None:
    async with connected(guarded.url) as connection:
        await connection.check_publish("test.echo")
        await guard(guarded, permissions={"publish": ["_INBOX.>"]})
        with pytest.raises(Refused, match=r'Publish to "test\.echo"'):
            await connection.check_publish("test.echo")
        assert not connection.refusals
        with pytest.raises(Refused):
            await connection.check_publish("test.echo", vital=True)
        assert connection.refusals
        await guard(guarded)
        await connection.check_publish("test.echo", vital=True)
        assert not connection.refusals


@pytest.mark.parametrize("most_bytes", [-1, 1], ids=["stores", "stores nothing so large"])
async def test_a_stream_that_takes_requests_in_does_not_answer_them(
    make_nats: Callable[[], Nats], most_bytes: int
) -> None:
    nats = make_nats()
    other = await nats_py.connect(nats.url)
    await other.jetstream().add_stream(name="ALL", subjects=["test.>"], max_msg_size=most_bytes)
    async with connected(nats.url) as server, connected(nats.url) as client:
        with pytest.raises(OnlyStored, match=r"the stream ALL stores what is sent to test\.echo"):
            await client.request("test.echo", b"nobody", seconds=0.3)
        echo(server, "test.echo")
        await server.flush()
        for _ in range(20):
            assert (await client.request("test.echo", b"here", seconds=patient(2))).data == b"here"
        assert not client._requests._stored
    await other.close()


async def test_a_user_who_is_taken_away_for_long_is_reported_once_it_has_lasted(guarded: Nats) -> None:
    async with connected(guarded.url) as connection:
        await guard(guarded, user="somebody")
        began = time.monotonic()
        await connection.refusals.lasting(1.0)
        assert time.monotonic() - began >= 0.9


async def test_a_frozen_server_is_left_and_found_again(make_nats: Callable[[], Nats], monkeypatch) -> None:
    monkeypatch.setattr(links, "PING_SECONDS", 0.1)
    monkeypatch.setattr(links, "OPEN_SECONDS", 0.2)
    nats = make_nats()
    async with connected(nats.url) as connection:
        echo(connection, "test.echo")
        nats.pause()
        await wait_until(lambda: not connection.connected)
        nats.resume()
        await wait_until(lambda: connection.connected)
        assert (await connection.request("test.echo", b"", seconds=patient(2))).data == b""


async def test_publishers_wait_for_a_server_that_does_not_read(make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    got: list[int] = []
    async with connected(nats.url) as sender, connected(nats.url) as receiver:
        receiver.subscribe("test.bulk", lambda message: got.append(len(message.data)))
        await receiver.flush()
        nats.pause()

        async def publish_all() -> None:
            for _ in range(600):
                await sender.publish("test.bulk", b"x" * 64 * 1024)

        publishing = asyncio.create_task(publish_all())
        done, _ = await asyncio.wait([publishing], timeout=0.3)
        assert not done
        nats.resume()
        async with asyncio.timeout(patient(10)):
            await publishing
        await wait_until(lambda: len(got) == 600)


async def test_what_is_larger_than_the_server_takes_is_refused_here(make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    nats.configure(max_payload=1000)
    async with connected(nats.url) as connection:
        assert connection.max_payload == 1000
        echo(connection, "test.echo")
        with pytest.raises(TooLarge, match="1,001"):
            await connection.publish("test.echo", b"x" * 1001)
        assert len((await connection.request("test.echo", b"x" * 1000, seconds=patient(2))).data) == 1000


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0\r\n", "a\tb", "a\nb", "\ud800"])
async def test_what_is_no_subject_is_not_sent(nats: Nats, subject: str) -> None:
    async with connected(nats.url) as connection:
        with pytest.raises(NatsError):
            await connection.publish(subject, b"")
        if subject:
            with pytest.raises(NatsError):
                await connection.publish("good", b"", reply=subject)
        await connection.flush()


async def test_a_callback_that_raises_harms_no_other_message(nats: Nats, caplog: pytest.LogCaptureFixture) -> None:
    got: list[Message] = []

    def fail(message: Message) -> None:
        raise ValueError("planted")

    async with connected(nats.url) as connection:
        connection.subscribe("test.bad", fail)
        connection.subscribe("test.good", got.append)
        for subject in ("test.bad", "test.good"):
            await connection.publish(subject, b"")
        await connection.flush()
    assert len(got) == 1
    assert "planted" in caplog.text


async def test_the_other_servers_of_a_cluster_are_found_and_taken(make_nats: Callable[[], Nats]) -> None:
    first, second = make_nats(), make_nats()
    ports = [free_port(), free_port()]
    for nats, port in zip((first, second), ports, strict=True):
        await anyio.to_thread.run_sync(nats.stop)
        routes = [f"nats://127.0.0.1:{other}" for other in ports]
        # JetStream in a cluster would wait for a majority.
        cluster = {"name": "test", "host": "127.0.0.1", "port": port, "routes": routes}
        nats.configure(server_name=f"server-{port}", cluster=cluster, jetstream=None)
        await anyio.to_thread.run_sync(nats.start)
    async with connected(first.url) as connection:
        echo(connection, "test.echo")
        await wait_until(lambda: len(connection._info.connect_urls) > 1, what="the other server's address")
        await anyio.to_thread.run_sync(first.kill9)
        # The end of a killed server is noticed a moment later: until then a request fails with it.
        back: bytes = await wait_until(partial(echoed, connection), what="the other server")
        assert back == b"here"


async def echoed(connection: Connection) -> bytes:
    """Return what comes back from `test.echo`, nothing if that fails."""
    try:
        return (await connection.request("test.echo", b"here", seconds=patient(2))).data
    except Away:
        return b""
