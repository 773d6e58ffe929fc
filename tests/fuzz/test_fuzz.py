"""Mutated requests, pushes and frames, thrown at a daemon, a worker and a client: they answer in words, and live on.

`make fuzz` throws 420,000; FUZZ_COUNT says how many, FUZZ_SEED which.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
import pytest

from aiki import AikiError, Client, Worker, WorkflowRun, workflow
from aiki.nats.frames import Message
from aiki.wire import codec, subjects
from aiki.wire.messages import Park
from tests.fuzz.frames import MutatedFrames
from tests.fuzz.mutants import PUSHES, REQUESTS, Mutants
from tests.servers import Aikid, Aikids
from tests.strangers.stranger import Stranger, pub, stranger
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

COUNT = int(os.environ.get("FUZZ_COUNT", 4_000))
SEED = int(os.environ.get("FUZZ_SEED", 1))
BATCH = 200
FRAMES = 0.25
PUSHED = 0.15
"""The parts of all that are frames and pushes; the others are requests that must be answered."""
INBOX = "_INBOX.fuzz"
NAMESPACE = "fuzzed"
UNREADABLE = "unreadable"
PROBED = 2_000
"""After so many, all three are asked whether they still answer."""


@workflow
async def echo(run: WorkflowRun, text: str) -> str:
    return text


async def test_whatever_is_sent_is_answered_in_words_and_nobody_falls_silent(start_aikid: Aikids) -> None:
    daemon = start_aikid()
    said: Counter[str] = Counter()
    bugs: dict[str, bytes] = {}
    url = daemon.nats_url
    async with (
        Client.connect(url, namespace=NAMESPACE) as client,
        Worker(client, workflows=[echo]),
        stranger(url) as neighbour,
    ):
        await neighbour.listen(">")
        assert await answers(client)
        listened = subjects_of(neighbour)
        parking = await parking_of(neighbour)
        await neighbour.listen(f"{INBOX}.>")
        await neighbour.forget(">")
        thrown = throws(listened, parking)
        for done in range(0, COUNT, BATCH):
            for (op, data), code in await throw(neighbour, list(islice(thrown, BATCH))):
                said[code] += 1
                if code in {AikiError.code, UNREADABLE}:
                    bugs.setdefault(op, data)
            if done % PROBED < BATCH:
                assert await answers(client)
        assert await answers(client)
    print(f"{COUNT:,} thrown with seed {SEED}; answers: {dict(said.most_common())}")
    assert not bugs, bugs
    assert_well(daemon)


async def parking_of(neighbour: Stranger) -> Park:
    """Return the worker's word on what may be handed over to it, once a daemon has a line on it."""

    def parks() -> list[Park]:
        seen = [message.data for message in neighbour.seen if message.subject == f"aiki.v1.{NAMESPACE}.park"]
        return [park for park in (codec.decode(data, Park) for data in seen) if park.leaves]

    await wait_until(lambda: bool(parks()))
    return parks()[-1]


def throws(listened: list[bytes], parking: Park) -> Iterator[tuple[str, bytes] | bytes]:
    """Yield requests (an operation and its bytes), pushes and frames, in the order that the seed says."""
    rng = random.Random(SEED)
    requests, frames = Mutants(SEED, REQUESTS), MutatedFrames(SEED, listened)
    known = {"session": [parking.session], "inbox": [parking.inbox], "line": list(parking.leaves)}
    pushes = Mutants(SEED, PUSHES, {**known, "serial": [1, 2, 1 << 53], "upto": [0, 16, 1 << 53], "first": [1, 2, 3]})
    to = {"park": subjects.park(NAMESPACE), "told": subjects.told(NAMESPACE, parking.session)}
    while True:
        draw = rng.random()
        if draw < FRAMES:
            yield frames.next()
        elif draw < FRAMES + PUSHED:
            kind, data = pushes.next()
            yield pub(to.get(kind, parking.inbox).encode(), data)
        else:
            yield requests.next()


async def throw(neighbour: Stranger, batch: list[tuple[str, bytes] | bytes]) -> list[tuple[tuple[str, bytes], str]]:
    """Send all, wait until each request is answered, and return the requests with the codes of their answers."""
    asked: dict[str, tuple[str, bytes]] = {}
    sent = []
    for n, one in enumerate(batch):
        if isinstance(one, bytes):
            sent.append(one)
            continue
        asked[f"{INBOX}.{n}"] = one
        op, data = one
        sent.append(pub(f"aiki.v1.{NAMESPACE}.api.{op}".encode(), data, reply=f"{INBOX}.{n}".encode()))
    neighbour.seen.clear()
    await neighbour.send(sent)
    try:
        await wait_until(lambda: asked.keys() <= {message.subject for message in neighbour.seen}, 20)
    except AssertionError:
        silent = asked.keys() - {message.subject for message in neighbour.seen}
        raise AssertionError(f"not answered: {[asked[inbox] for inbox in silent][:5]}") from None
    return [(asked[message.subject], code_of(message)) for message in neighbour.seen if message.subject in asked]


def code_of(message: Message) -> str:
    """Return the code of the error that a reply holds, `ok` if it holds none, `unreadable` if it is not JSON."""
    try:
        reply = codec.decode(message.data, dict[str, Any])
    except msgspec.MsgspecError:
        return UNREADABLE
    code: str = reply["error"]["code"] if "error" in reply else "ok"
    return code


async def answers(client: Client) -> bool:
    """Have a run carried out, from the enqueue to the end that is told."""
    text = f"still there {random.random()}"
    return await (await echo.enqueue(client, text)).result(timeout=ENOUGH) == text


def subjects_of(neighbour: Stranger) -> list[bytes]:
    """Return the subjects that all three listen on, as they were seen by somebody who sees everything."""
    inboxes = {message.subject for message in neighbour.seen if message.subject.startswith("_INBOX.")}
    inboxes |= {message.reply for message in neighbour.seen if message.reply.startswith("_INBOX.")}
    ours = [
        f"aiki.v1.{NAMESPACE}.{rest}" for rest in ("api", "api.status", "api.record", "news", "news.x", "run.echo.1")
    ]
    return [subject.encode() for subject in (*sorted(inboxes), *ours)]


def assert_well(daemon: Aikid) -> None:
    """Assert that the daemon's log tells of no bug."""
    assert daemon.running
    lines = [line for line in daemon.logged().splitlines() if '"traceback"' in line or "bug" in line]
    assert not lines, lines[:3]
