"""Claim runs for a worker, and fill the reply with what it needs to go on: inputs, journals, attempts."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import UsageError
from aiki.core.failpoints import failpoint
from aiki.wire.codec import encode
from aiki.wire.limits import CLAIM_RUNS, MESSAGE_BYTES, PAGE_BYTES
from aiki.wire.messages import Attempt, Claim, Claimed, ClaimReply, Entry, Fence
from aiki.wire.subjects import is_token
from aikid.engine.checks import is_uuid
from aikid.store import claims as store
from aikid.store import journal
from aikid.store.claims import ClaimedRow
from aikid.store.pool import Pool, Priority

_INPUT_BYTES: Final = 320 * 1024
"""Inputs of one claim; the rest of the message is for journals."""
_ATTEMPT_BYTES: Final = 64 * 1024
_LEFT_OUT: Final = Raw(b'{"type":"","message":"(left out: too many errors for one reply)"}')
_labels = msgspec.json.Decoder(dict[str, str])
_OVERHEAD_BYTES: Final = 1024


def check_claim(request: Claim) -> None:
    """Raise UsageError if the request cannot be carried out."""
    if not is_uuid(request.session) or not is_token(request.claim_id):
        raise UsageError("`session` must be a UUID and `claim_id` 1 to 64 characters of A-Z a-z 0-9 _ -")
    if not 1 <= request.limit <= CLAIM_RUNS:
        raise UsageError(f"a claim takes 1 to {CLAIM_RUNS} runs, not {request.limit}")
    if any("\0" in part for route in request.routes for part in route):
        raise UsageError("a route's name holds NUL")


async def claim(pool: Pool, namespace: str, request: Claim) -> ClaimReply:
    """Claim and describe up to `limit` runs. Not repeated if its outcome is unknown: the next renewal finds it.

    Raises UsageError and Unavailable.
    """
    check_claim(request)
    failpoint("claim.before_commit")
    taken = await pool.run(
        lambda c: store.claim(c, namespace, request, limit_bytes=_INPUT_BYTES),
        priority=Priority.CLAIM,
        repeatable=False,
    )
    begun = [row.id for row in taken.runs if row.epoch > 1]
    lengths, pages, attempts = await _journals(pool, begun, taken.runs) if begun else ({}, {}, {})
    runs = [
        Claimed(
            fence=Fence(row.id, row.epoch, request.claim_id),
            origin_id=row.origin_id,
            workflow=row.workflow,
            version=row.version,
            input=Raw(row.input),
            attempt=row.epoch,
            started_at=row.started_at,
            key=row.key,
            labels=_labels.decode(row.labels) if row.labels else {},
            entries=pages.get(row.id, []),
            length=lengths.get(row.id, 0),
            attempts=attempts.get(row.id, []),
            suspect=row.crash_count >= 2,
        )
        for row in taken.runs
    ]
    return ClaimReply(now=taken.now, alive=taken.alive, runs=runs, more=taken.more)


async def lighten(pool: Pool, reply: ClaimReply) -> ClaimReply:
    """Return a reply that fits a message: without journals (they are read by Page), and with fewer runs if need be.

    The runs left out are queued again. Raises Unavailable; then the worker's next renewal finds them.
    """
    room = MESSAGE_BYTES - _OVERHEAD_BYTES
    kept: list[Claimed] = []
    for run in reply.runs:
        light = replace(run, entries=[])
        size = len(encode(light)) + 1
        if size > room:
            break
        room -= size
        kept.append(light)
    if surplus := [run.fence.run_id for run in reply.runs[len(kept) :]]:
        claim_id = reply.runs[0].fence.claim_id
        await pool.run(lambda c: store.release(c, surplus, claim_id), priority=Priority.CLAIM)
    return replace(reply, runs=kept, more=True)


async def _journals(
    pool: Pool, begun: list[str], rows: list[ClaimedRow]
) -> tuple[dict[str, int], dict[str, list[Entry]], dict[str, list[Attempt]]]:
    lengths = await pool.run(lambda c: journal.lengths(c, begun), priority=Priority.CLAIM)
    written = [run_id for run_id, length in lengths.items() if length]
    attempts = await pool.run(lambda c: journal.last_attempts(c, begun), priority=Priority.CLAIM)
    _shorten(attempts)
    used = sum(len(row.input) + _OVERHEAD_BYTES for row in rows) + _ATTEMPT_BYTES
    room = min(PAGE_BYTES, MESSAGE_BYTES - used)
    pages: dict[str, list[Entry]] = {}
    if written and room > 0:
        pages = await pool.run(lambda c: journal.first_pages(c, written, limit_bytes=room), priority=Priority.CLAIM)
    return lengths, pages, attempts


def _shorten(attempts: dict[str, list[Attempt]]) -> None:
    room = _ATTEMPT_BYTES
    for tries in attempts.values():
        for attempt in tries:
            room -= len(bytes(attempt.error)) + len(attempt.key) + 64
            if room < 0 and bytes(attempt.error) != b"null":
                attempt.error = _LEFT_OUT
