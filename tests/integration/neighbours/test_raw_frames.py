"""What a neighbour publishes byte by byte: neither a daemon, a worker nor a client becomes deaf by it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from aiki import Client, Worker, WorkflowRun, workflow
from aiki.transport import Transport
from tests.servers import Aikid
from tests.strangers.stranger import Stranger, hpub, pub, stranger
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

INBOX = re.compile(rb"_INBOX\.[A-Za-z0-9_=.-]+")
FORMS = {
    "a subject that is not UTF-8": lambda subject: pub(subject + b"\xff\xfe"),
    "a subject that ends inside a character": lambda subject: pub(subject + b"\xe2\x82"),
    "a subject with a vertical tab": lambda subject: pub(subject + b"\x0b"),
    "a subject with a form feed": lambda subject: pub(subject + b"\x0c\x85"),
    "a subject with NUL and ESC": lambda subject: pub(subject + b"\x00\x1b[2J"),
    "a reply subject that is not UTF-8": lambda subject: pub(subject, b"{}", reply=b"_INBOX.\xff"),
    "a reply subject with a vertical tab": lambda subject: pub(subject, b"{}", reply=b"_INBOX.\x0b\x0c"),
    "a reply subject of wildcards": lambda subject: pub(subject, b"{}", reply=b"_INBOX.>"),
    "a status that is not UTF-8": lambda subject: hpub(subject, b"NATS/1.0 \xff\xfe\xfd\r\n\r\n"),
    "a status that is cut": lambda subject: hpub(subject, b"NATS/1.0 5"),
    "a description that is not UTF-8": lambda subject: hpub(subject, b"NATS/1.0 100 \xff\xff\r\n\r\n"),
    "a status of other digits": lambda subject: hpub(subject, "NATS/1.0 ٣٠٣\r\n\r\n".encode()),
    "headers without a first line": lambda subject: hpub(subject, b"Name: value\r\n\r\n"),
    "headers of one byte": lambda subject: hpub(subject, b"N"),
    "headers of nothing but a first word": lambda subject: hpub(subject, b"NATS/1.0"),
    "headers of NULs": lambda subject: hpub(subject, b"\x00" * 64),
    "headers that do not end": lambda subject: hpub(subject, b"NATS/1.0\r\nName: value", b"{}"),
    "header names that are not ASCII": lambda subject: hpub(subject, b"NATS/1.0\r\n\xff\xfe: \xff\r\n\r\n"),
    "frames inside a payload": lambda subject: pub(subject, b"-ERR 'Authorization Violation'\r\nMSG a 1 0\r\n\r\n"),
    "a payload that is not UTF-8": lambda subject: pub(subject, b'{"runs":[{"id":"\xff"}],"ids":["\xff"]}'),
    "a payload nested too deep": lambda subject: pub(subject, b"[" * 200_000),
}


@workflow
async def echo(run: WorkflowRun, text: str) -> str:
    return text


@pytest.fixture
async def neighbour(aikid: Aikid, anyio_backend: str) -> AsyncIterator[Stranger]:
    async with stranger(aikid.nats_url) as made:
        await made.listen(">")
        yield made


async def test_a_daemon_a_worker_and_a_client_live_on_whatever_is_published_to_them(
    aikid: Aikid, namespace: str, neighbour: Stranger
) -> None:
    async with Client.connect(aikid.nats_url, namespace=namespace) as client, Worker(client, workflows=[echo]):
        assert await (await echo.enqueue(client, "before")).result(timeout=ENOUGH) == "before"
        targets = [f"aiki.v1.{namespace}.{rest}".encode() for rest in ("api.status", "api.claim", "news.x")]
        await wait_until(lambda: len(inboxes(neighbour)) >= 5, what="the inboxes of calls, pulls, pushes and the lease")
        targets += sorted(inboxes(neighbour))
        for name, form in FORMS.items():
            await neighbour.send(form(target) for target in targets)
            # A fresh call by each of the three: the worker's claim, its renewal and record, the client's wait.
            result = await (await echo.enqueue(client, name)).result(timeout=ENOUGH)
            assert result == name
    bugs = [line for line in aikid.logged().splitlines() if "Traceback" in line]
    assert not bugs, bugs[0]


async def test_the_end_of_a_pull_that_was_never_made_leaves_no_trace(aikid: Aikid, namespace: str, neighbour) -> None:
    over: list[str] = []
    transport = await Transport.connect(aikid.nats_url, namespace=namespace)
    pulls = await transport.hints(lambda _: None, lambda route, _: over.append(route))
    await pulls.pull("nobody", "1", 1)
    consumer = f"{namespace}=nobody=1"
    (inbox,) = await wait_until(lambda: {one.reply for one in neighbour.seen if one.reply.endswith(f".{consumer}")})
    ends = [f"{inbox}{n}".encode() for n in range(100)]
    await neighbour.send(hpub(subject, b"NATS/1.0 409 Consumer Deleted\r\n\r\n") for subject in (*ends, inbox.encode()))
    await wait_until(lambda: over)
    await pulls.close()
    await transport.close()
    assert over == [consumer]


def inboxes(neighbour: Stranger) -> set[bytes]:
    """Return the inboxes that were seen: as subjects, as reply subjects and inside payloads."""
    seen: set[bytes] = set()
    for message in neighbour.seen:
        words = (message.subject.encode(), message.reply.encode(), message.data)
        seen.update(b".".join(found.split(b".")[:3]) for word in words for found in INBOX.findall(word))
    return seen
