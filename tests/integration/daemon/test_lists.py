"""A list holds small results and the errors of its runs, however many there are: as many runs as fit a reply."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw

from aiki.core.states import Move
from aiki.wire.codec import encode
from aiki.wire.limits import LISTED_BYTES
from aiki.wire.messages import End, ListReply, ListRuns, RunStatus
from aikid.engine import reads
from tests.integration.daemon.engine import Engine, completed, unit

pytestmark = pytest.mark.anyio
ROOM = 64 * 1024


async def listed(engine: Engine) -> list[list[RunStatus]]:
    """Return the pages of the whole list, in messages of ROOM bytes."""
    pages: list[list[RunStatus]] = []
    cursor = None
    while True:
        reply = await reads.answer(engine.pool, engine.namespace, ListRuns(limit=1000, cursor=cursor), room=ROOM)
        assert isinstance(reply, ListReply)
        assert len(encode(reply)) <= ROOM
        pages.append(reply.runs)
        if (cursor := reply.cursor) is None:
            return pages


async def ended(engine: Engine, end: End) -> str:
    run_id = await engine.queued_run()
    assert await engine.results(unit((await engine.claim_one()).fence, end=end)) == ["done"]
    return run_id


async def test_a_list_holds_errors_and_results_of_at_most_4_kib(engine: Engine) -> None:
    small, large = (json.dumps("x" * (LISTED_BYTES - 2 + more)).encode() for more in (0, 1))
    error = Raw(b'{"type":"E","message":"m"}')
    await ended(engine, completed(small))
    await ended(engine, completed(large))
    await ended(engine, End(Move.FAIL, error=error))
    ((failed, without, whole),) = await listed(engine)
    assert (bytes(whole.output), whole.output_bytes) == (small, None)
    assert (bytes(without.output), without.output_bytes) == (b"", LISTED_BYTES + 1)
    assert (bytes(failed.error), failed.output_bytes) == (bytes(error), None)


async def test_pages_of_a_list_lose_neither_a_run_nor_a_result(engine: Engine) -> None:
    outputs = {}
    for number in range(40):
        output = json.dumps(str(number) + "x" * 3_000).encode()
        outputs[await ended(engine, completed(output))] = output
    pages = await listed(engine)
    assert len(pages) > 1
    assert {run.id: bytes(run.output) for page in pages for run in page} == outputs
