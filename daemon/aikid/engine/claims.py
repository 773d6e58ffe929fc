"""Claim runs for a worker, and fill the reply with what it needs to go on: inputs, journals, attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.failpoints import failpoint
from aiki.rules.claiming import RUN_BYTES
from aiki.rules.crashing import is_suspect
from aiki.wire import weights
from aiki.wire.codec import decoder, encode, encode_reply
from aiki.wire.limits import PAGE_BYTES
from aiki.wire.messages import NONE, Attempt, Claim, Claimed, ClaimReply, Entry, Fence, Fired
from aiki.wire.packing import fitting, reply_room, too_large
from aikid.engine.changes import Changes, Done, Handed
from aikid.store import claims as store
from aikid.store import journal
from aikid.store.claims import ClaimedRow
from aikid.store.pool import Connection, Pool
from aikid.store.unread import Unread, unread

T = TypeVar("T")
_labels = msgspec.json.Decoder(dict[str, str])


async def answer(pool: Pool, namespace: str, request: Claim, *, room: int) -> Done[bytes]:
    """Claim for a worker; return the reply as it is sent, made lighter if it would not fit `room`.

    Raises Unavailable.
    """
    reply = await claim(pool, namespace, request, room=room)
    data = encode_reply(reply)
    changes = Changes()
    if len(data) > room:
        reply, blocked = await lighten(pool, namespace, reply, room=room)
        data = encode_reply(reply)
        changes.settled[namespace] += blocked
    for run in reply.runs:
        changes.claimed[namespace, run.workflow, run.version] += 1
        changes.changed[namespace].append(run.fence.run_id)
    if reply.more:
        changes.more.update(changes.claimed)
    return Done([data], changes)


async def claim(pool: Pool, namespace: str, request: Claim, *, room: int) -> ClaimReply:
    """Claim and describe up to `limit` runs, about as many as fit `room` (see `lighten`).

    Not repeated if its outcome is unknown: the next renewal finds it. Raises Unavailable.
    """
    inputs = room * 5 // 8  # the rest is for journals
    failpoint("claim.before_commit")
    taken = await pool.run(lambda c: store.claim(c, namespace, request, limit_bytes=inputs), repeatable=False)
    begun = [row.id for row in taken.runs if row.epoch > 1 or row.attempt > 1]  # a retry has a journal before its claim
    found = await journals(pool.run, begun, taken.runs, room=room)
    unread = await unread_of(pool.run, namespace, taken.runs, found.pages, room=room)
    runs = [described(row, request.claim_id, found, unread.get(row.id)) for row in taken.runs]
    return ClaimReply(now=taken.now, alive=taken.alive, runs=runs, more=taken.more)


def described(row: ClaimedRow, claim_id: str, found: Journals, came: Unread | None) -> Claimed:
    """Return a run as a claim brings it, with what was found of its journal, and what has come to it."""
    attempts = found.attempts.get(row.id, [])
    run = Claimed(
        fence=Fence(row.id, row.epoch, claim_id),
        origin_id=row.origin_id,
        workflow=row.workflow,
        version=row.version,
        input=Raw(row.input),
        claims=row.epoch,
        started_at=row.started_at,
        key=row.key,
        labels=_labels.decode(row.labels) if row.labels else {},
        entries=found.pages.get(row.id, []),
        length=found.lengths.get(row.id, 0),
        attempts=attempts,
        tries=len(attempts),
        suspect=is_suspect(row.crash_count),
        attempt=row.attempt,
        generation=row.generation,
        parent=row.parent_id,
        depth=row.depth,
        priority=row.priority,
        retry=NONE if row.retry is None else Raw(row.retry),
        first_at=row.first_at,
        fired=None if row.fired is None else decoder(Fired).decode(row.fired),
    )
    if came is not None:
        run.news, run.arrivals, run.unread, run.wanted = came.news(), came.arrivals, came.count, came.wanted
    return run


async def lighten(pool: Pool, namespace: str, reply: ClaimReply, *, room: int) -> tuple[ClaimReply, list[str]]:
    """Return a reply that fits `room`, and the runs now blocked. But for inputs all is left to Page and Inbox.

    The runs that are left out are queued again. But one that would not fit alone (the server took more when it was
    enqueued) is blocked: claimed again and again it would never come to a worker. Raises Unavailable; then the worker's
    next renewal finds them.
    """
    light = [
        replace(run, entries=[], attempts=[], arrivals=[], news=0 if run.arrivals else run.news) for run in reply.runs
    ]
    sizes = [len(encode(run)) + 1 for run in light]
    most = reply_room(room)
    able = [place for place, size in enumerate(sizes) if size <= most]
    kept = able[: fitting((sizes[place] for place in able), most)]
    blocked = [light[place] for place, size in enumerate(sizes) if size > most]
    surplus = [light[place].fence.run_id for place in able[len(kept) :]]
    claim_id = reply.runs[0].fence.claim_id

    async def work(connection: Connection) -> None:
        await store.release(connection, namespace, surplus, claim_id)
        for run in blocked:
            error = too_large("its input", len(run.input), room=room)
            await store.block(
                connection, namespace, run.fence.run_id, claim_id, why=f"oversize: {error.message}; {error.hint}"
            )

    if surplus or blocked:
        await pool.run(work)
    return replace(reply, runs=[light[place] for place in kept], more=True), [run.fence.run_id for run in blocked]


async def take_back(pool: Pool, handed: Handed) -> Changes:
    """Queue runs again that were handed over and reached nobody; return what that changed. Raises Unavailable."""
    namespace, ids = handed.line.namespace, [run.fence.run_id for run in handed.runs]
    claim_id = handed.runs[0].fence.claim_id
    await pool.run(lambda c: store.take_back(c, namespace, ids, claim_id))
    changes = Changes()
    for run in handed.runs:
        changes.queued[namespace, run.workflow, run.version] += 1
    changes.changed[namespace] += ids
    return changes


class Ask(Protocol):
    """Carries work out on a connection: on any that is free, or on that of a snapshot."""

    def __call__(self, work: Callable[[Connection], Awaitable[T]], /) -> Awaitable[T]:
        """Return what it returns."""
        ...


@dataclass(frozen=True, slots=True)
class Journals:
    """What runs have recorded, by run: how long that is, its first pages, and the last try of each task."""

    lengths: Mapping[str, int] = field(default_factory=dict)
    pages: Mapping[str, list[Entry]] = field(default_factory=dict)
    attempts: Mapping[str, list[Attempt]] = field(default_factory=dict)


async def journals(ask: Ask, begun: Sequence[str], rows: Sequence[ClaimedRow], *, room: int) -> Journals:
    """Return what those of the runs that have `begun` have recorded, as much as fits `room` beside all their inputs."""
    if not begun:
        return Journals()
    lengths, tried = await ask(lambda c: journal.lengths(c, begun))
    written = {run_id: lengths[run_id] for run_id in begun if lengths[run_id]}
    attempts = await ask(lambda c: journal.last_attempts(c, tried)) if tried else {}
    used = sum(len(row.input) + RUN_BYTES for row in rows)
    used += sum(weights.of_attempt(attempt) for tries in attempts.values() for attempt in tries)
    left = min(PAGE_BYTES, room - used)
    pages: dict[str, list[Entry]] = {}
    if written and left > 0:
        pages = await ask(lambda c: journal.first_pages(c, written, limit_bytes=left))
    return Journals(lengths, pages, attempts)


async def unread_of(
    ask: Ask,
    namespace: str,
    rows: Sequence[ClaimedRow],
    pages: Mapping[str, Sequence[Entry]],
    *,
    room: int,
    ended: bool = False,
) -> dict[str, Unread]:
    """Return what is unread of the runs that anything has ever reached; of those that have ended only if asked.

    It is read by a statement of its own: a claim's holds the rows in their newest form, but the inbox as it was
    before.
    """
    reached = [row.id for row in rows if row.news]
    if not reached:
        return {}
    used = sum(len(row.input) + RUN_BYTES for row in rows)
    used += sum(weights.of_entry(entry) for page in pages.values() for entry in page)
    limit_bytes = max(0, room - used) // len(reached)
    return await ask(lambda c: unread(c, namespace, reached, limit_bytes=limit_bytes, ended=ended))
