"""Requests sent straight to the API's subjects: whatever arrives is answered in words, and nothing breaks."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client as Connection

from aiki import Client, PayloadError, Worker, WorkflowRun, task, workflow
from aiki.wire.limits import MESSAGE_BYTES, PAYLOAD_BYTES
from tests.servers import Aikid
from tests.waiting import ENOUGH, patient

pytestmark = pytest.mark.anyio

RUN: dict[str, Any] = {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "workflow": "w", "version": "1", "input": {}}


@workflow
async def echo(run: WorkflowRun, text: str) -> str:
    return text


@task
async def swell(size: int) -> str:
    return "x" * size


@workflow
async def swelling(run: WorkflowRun, size: int) -> int:
    return len(await swell.run(run, size))


@pytest.fixture
async def connection(aikid: Aikid, anyio_backend: str) -> AsyncIterator[Connection]:
    made = await nats.connect(aikid.nats_url)
    yield made
    await made.close()


async def ask(connection: Connection, subject: str, data: bytes) -> Any:
    return json.loads((await connection.request(subject, data, timeout=patient(5))).data)


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        ("status", b"", "payload"),
        ("status", b"\xff\xfe", "payload"),
        ("status", b"[" * 100_000, "usage"),
        ("enqueue", b'{"runs": [{"input": ' + b"[" * 100_000, "payload"),
        ("status", b"{}", "usage"),
        ("status", b'{"ids": "no list"}', "usage"),
        ("status", b'{"ids": ["no uuid"]}', "usage"),
        ("status", json.dumps({"ids": [RUN["id"]] * 1001}).encode(), "usage"),
        ("teleport", b"{}", "unsupported"),
        ("enqueue", b'{"runs": 1}', "usage"),
        ("history", b'{"id": "x"}', "usage"),
        ("claim", b'{"session": "x", "claim_id": "y", "routes": [], "limit": 1}', "usage"),
        ("claim", json.dumps({"session": RUN["id"], "claim_id": "y", "routes": [], "limit": 0}).encode(), "usage"),
        ("record", json.dumps({"units": [[[RUN["id"], 1, "c"], 0, [], []]] * 2}).encode(), "usage"),
        ("session_open", b'{"id": "x", "worker": "w", "routes": []}', "usage"),
        (
            "session_open",
            json.dumps(
                {
                    "id": RUN["id"],
                    "worker": "w",
                    "routes": [{"workflow": "w", "version": "1", "task_names": ["no token"]}],
                }
            ).encode(),
            "usage",
        ),
        (
            "session_open",
            json.dumps({"id": RUN["id"], "worker": "w", "routes": [], "ttl": 1e9}).encode(),
            "usage",
        ),
    ],
)
async def test_a_malformed_request_is_refused_in_words(
    connection: Connection, namespace: str, op: str, data: bytes, code: str
) -> None:
    reply = await ask(connection, f"aiki.v1.{namespace}.api.{op}", data)
    assert reply["error"]["code"] == code
    assert reply["error"]["message"]


async def test_a_request_over_the_limit_is_refused(connection: Connection, namespace: str) -> None:
    reply = await ask(connection, f"aiki.v1.{namespace}.api.status", b" " * (MESSAGE_BYTES + 1))
    assert reply["error"]["code"] == "payload"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": "x"}, "usage"),
        ({"workflow": "has a space"}, "usage"),
        ({"workflow": "dots.are.tokens"}, "usage"),
        ({"version": ""}, "usage"),
        ({"options": {"priority": 101}}, "usage"),
        ({"options": {"key": "k"}}, "usage"),
        ({"options": {"key": "nul\0"}, "digest": "0" * 32}, "usage"),
        ({"options": {"key": "two\nlines"}, "digest": "0" * 32}, "usage"),
        ({"options": {"labels": {"a b": "c"}}}, "usage"),
        ({"options": {"start_at": 1, "delay": 1}}, "usage"),
        ({"options": {"delay": -1}}, "usage"),
        ({"input": "x" * (PAYLOAD_BYTES + 1)}, "payload"),
        ({"input": json.loads("[" * 300 + "]" * 300)}, "payload"),
    ],
)
async def test_a_bad_run_is_refused_and_the_others_of_its_batch_are_stored(
    connection: Connection, client: Client, namespace: str, change: dict[str, Any], code: str
) -> None:
    good = await echo.enqueue(client, "good")
    runs = [RUN | change, RUN | {"id": str(uuid.uuid4())}]
    reply = await ask(connection, f"aiki.v1.{namespace}.api.enqueue", json.dumps({"runs": runs}).encode())
    first, second = reply["ok"]["runs"]
    assert first["error"]["code"] == code
    assert "error" not in second
    assert (await good.status()).workflow == "echo"


async def test_a_forged_record_changes_nothing(connection: Connection, client: Client, namespace: str) -> None:
    handle = await echo.enqueue(client, "mine")
    end = {"move": "complete", "output": "forged"}
    units = [
        [[handle.run_id, 0, "claim"], 0, [], [], end],
        [[handle.run_id, 1, "claim"], 0, [["task:x:y:1", True, 1, 1]], [], end],
        [["x", 1, "claim"], 0, [], [], end],
        [[handle.run_id, 1, "claim"], 0, [], [], {"move": "rescue"}],
    ]
    results = []
    for unit in units:
        reply = await ask(connection, f"aiki.v1.{namespace}.api.record", json.dumps({"units": [unit]}).encode())
        results += [one[0] for one in reply["ok"]["units"]]
    assert results == ["fenced", "fenced", "refused", "refused"]
    assert (await handle.status()).state == "queued"


async def test_a_reply_goes_to_inboxes_only(connection: Connection, client: Client, namespace: str) -> None:
    """Naming another subject as the reply's would let a client publish where it may not."""
    target = f"aiki.v1.{namespace}.run.echo.1"
    subscription = await connection.subscribe(target)
    await connection.publish(f"aiki.v1.{namespace}.api.status", b'{"ids": []}', reply=target)
    watch = {"ids": [], "inbox": target, "seconds": 10}
    reply = await ask(connection, f"aiki.v1.{namespace}.api.watch", json.dumps(watch).encode())
    assert reply["error"]["code"] == "usage"
    await connection.flush()
    assert subscription.pending_msgs == 0


async def test_payloads_at_their_limit_pass_and_beyond_it_fail(client: Client) -> None:
    text = "x" * (PAYLOAD_BYTES - len('{"text":""}'))
    async with Worker(client, workflows=[echo, swelling]):
        assert await (await echo.enqueue(client, text)).result(timeout=ENOUGH) == text
        with pytest.raises(PayloadError):
            await echo.enqueue(client, text + "x")
        assert await (await swelling.enqueue(client, PAYLOAD_BYTES - 2)).result(timeout=ENOUGH) == PAYLOAD_BYTES - 2
        too_large = await swelling.enqueue(client, PAYLOAD_BYTES)
        with pytest.raises(Exception, match="more than 262,144"):
            await too_large.result(timeout=ENOUGH)


@pytest.mark.parametrize("text", ["\0", "\U0001f600", "\u2028", '"\\', "é" * 1000])
async def test_any_text_comes_back_as_it_was(client: Client, text: str) -> None:
    async with Worker(client, workflows=[echo]):
        assert await (await echo.enqueue(client, text)).result(timeout=ENOUGH) == text
