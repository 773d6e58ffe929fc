"""Own the way of a request: decode, queue by kind, carry out in batches, reply, and tell those who care.

Each kind of call has a queue of its own with a bound. Handlers only queue; there is no task per request. After a
commit the reply goes out first, then hints and news, best effort.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from aiki.core.errors import AikiError, Overloaded, PayloadError, Unsupported, UsageError
from aiki.core.failpoints import failpoint
from aiki.rules.checking import check_request, is_uuid
from aiki.wire import codec
from aiki.wire.limits import MESSAGE_BYTES, WATCH_SECONDS
from aiki.wire.messages import (
    REQUESTS,
    Claim,
    CloseSession,
    OpenSession,
    Request,
    Resume,
    Status,
    Watch,
)
from aiki.wire.packing import too_large
from aiki.wire.subjects import is_token
from aikid.batch import Batcher, Budget
from aikid.bus import Bus, may_reply
from aikid.engine import claims, reads, status
from aikid.engine import control as resuming
from aikid.engine import enqueue as enqueueing
from aikid.engine import record as recording
from aikid.engine import sessions as leases
from aikid.engine.changes import Done
from aikid.engine.routes import Routes
from aikid.store.pool import BadData, Pool
from aikid.tell.teller import Teller
from aikid.tell.watchers import Watchers

log = logging.getLogger("aikid.api")

_RETRY_SECONDS: Final = 0.2
_WEIGHED_BYTES: Final = 512


@dataclass(slots=True)
class Call:
    """A request that waits for its reply."""

    namespace: str
    request: Any
    inbox: str
    bytes: int
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Services:
    """What carries requests out."""

    pool: Pool
    bus: Bus
    routes: Routes
    watchers: Watchers
    teller: Teller


Flush = Callable[[list[Call]], Awaitable[None]]


class Api:
    """Serves every request in `REQUESTS`. `accept` is called by the bus, `run` flushes until `stop`."""

    def __init__(self, services: Services) -> None:
        self._s = services
        # Renewals and records keep claims alive and have lanes of their own; new work and reads come last. A batch's
        # weight is its rows and its bytes by the half KiB, so that large requests make small batches. Whatever one
        # namespace asks for, a lane is left to the others.
        lease = self._batcher(self._lease, Budget(lanes=2, limit=1, capacity=1_000, lanes_each=1))
        claim = self._batcher(self._claim, Budget(lanes=3, limit=1, capacity=2_000, lanes_each=2))
        look = self._batcher(self._look, Budget(lanes=3, limit=1_000, capacity=10_000, lanes_each=2))
        other = self._batcher(self._read, Budget(lanes=3, limit=1, capacity=200, lanes_each=2))
        self._batchers: dict[str, Batcher[Call]] = {
            "session_open": lease,
            "session_close": lease,
            "resume": lease,
            "session_renew": self._batcher(self._renew, Budget(lanes=2, limit=200, capacity=5_000, lanes_each=1)),
            "record": self._batcher(self._record, Budget(lanes=3, limit=2_500, capacity=10_000, lanes_each=2)),
            "claim": claim,
            "page": claim,
            "enqueue": self._batcher(self._enqueue, Budget(lanes=3, limit=1_250, capacity=10_000, lanes_each=2)),
            "status": look,
            "watch": look,
        }
        for op in REQUESTS.keys() - self._batchers.keys():
            self._batchers[op] = other

    def _batcher(self, flush: Flush, budget: Budget) -> Batcher[Call]:
        async def guarded(calls: list[Call]) -> None:
            try:
                await flush(calls)
            except AikiError as error:
                await self._refuse(calls, error)
            except Exception as error:  # noqa: BLE001 - the edge of a request: it is logged, and told to its caller
                await self._blame(guarded, calls, error)

        return Batcher(guarded, budget, weigh=_weight, owner=lambda call: call.namespace)

    async def run(self) -> None:
        """Carry out what is queued until `stop`; what was accepted before is carried out still."""
        async with asyncio.TaskGroup() as tasks:
            for batcher in set(self._batchers.values()):
                tasks.create_task(batcher.run())

    def stop(self) -> None:
        """Refuse new requests and let `run` return when all is answered."""
        for batcher in set(self._batchers.values()):
            batcher.stop()

    def accept(self, subject: str, inbox: str, data: bytes) -> bytes | None:
        """Queue a request; return the error to answer with at once if it cannot be."""
        if not may_reply(inbox):
            return None
        _, _, namespace, _, op = subject.split(".")
        try:
            request = _decode(namespace, op, data)
            check_request(request)
            if isinstance(request, Watch) and not may_reply(request.inbox):
                raise UsageError("`inbox` must be a subject under _INBOX.")
        except AikiError as error:
            return codec.encode_error(error)
        if not self._batchers[op].add(Call(namespace, request, inbox, len(data))):
            return codec.encode_error(_overloaded(op))
        return None

    # -- replies

    async def _reply(self, calls: Sequence[Call], replies: Sequence[object]) -> None:
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, bytes):
                await self._send(call, reply)
            else:
                await self._send(
                    call, codec.encode_error(reply) if isinstance(reply, AikiError) else codec.encode_reply(reply)
                )

    async def _send(self, call: Call, data: bytes) -> None:
        # Replies are packed to fit; what cannot be (one huge value) must be told, or its caller would wait for ever.
        if len(data) > (room := self._s.bus.room):
            data = codec.encode_error(too_large(f"the reply to {call.request.op!r}", len(data), room=room))
        call.answered = True
        await self._s.bus.publish(call.inbox, data)

    async def _refuse(self, calls: Sequence[Call], error: AikiError) -> None:
        waiting = [call for call in calls if not call.answered]
        await self._reply(waiting, [error] * len(waiting))

    async def _blame(self, flush: Flush, calls: list[Call], error: Exception) -> None:
        """Find the call that a batch failed for, and answer it: the others of its batch must not suffer for it."""
        waiting = [call for call in calls if not call.answered]
        if (half := len(waiting) // 2) > 0:
            # What is carried out once more is idempotent by its ids.
            await flush(waiting[:half])
            await flush(waiting[half:])
        elif isinstance(error, BadData):
            await self._refuse(waiting, PayloadError(f"Postgres refuses a value of this request: {error}"))
        else:
            log.error("a call failed: %s", calls[0].request.op, exc_info=error)
            await self._refuse(waiting, AikiError("aikid has a bug: see its log"))

    # -- kinds of calls

    async def _enqueue(self, calls: list[Call]) -> None:
        s = self._s
        for call in calls:
            self._watch_from_birth(call)
        requests = [(call.namespace, call.request) for call in calls]
        done = await enqueueing.enqueue(s.pool, s.routes, requests, room=s.bus.room)
        await self._answer(calls, done, "enqueue")

    def _watch_from_birth(self, call: Call) -> None:
        request = call.request
        if request.inbox is not None and may_reply(request.inbox):
            ids = [run.id for run in request.runs if is_uuid(run.id)]
            self._s.watchers.watch(call.namespace, Watch(ids, request.inbox, WATCH_SECONDS))

    async def _claim(self, calls: list[Call]) -> None:
        (call,) = calls
        s = self._s
        if not isinstance(call.request, Claim):
            await self._reply(calls, [await reads.page(s.pool, call.namespace, call.request, room=s.bus.room)])
            return
        done = await claims.answer(s.pool, call.namespace, call.request, room=s.bus.room)
        await self._answer(calls, done, "claim" if done.changes.claimed else "")

    async def _record(self, calls: list[Call]) -> None:
        s = self._s
        requests = [(call.namespace, call.request) for call in calls]
        await self._answer(calls, await recording.record(s.pool, requests, s.watchers, room=s.bus.room), "record")

    async def _answer(self, calls: list[Call], done: Done[Any], point: str = "") -> None:
        self._s.teller.before_replies(done.changes)
        if not failpoint(f"{point}.before_reply"):
            await self._reply(calls, done.replies)
        failpoint(f"{point}.before_hint")
        await self._s.teller.tell(done.changes)

    async def _renew(self, calls: list[Call]) -> None:
        pairs = [(call.namespace, call.request) for call in calls]
        replies = await leases.renew_sessions(self._s.pool, pairs, room=self._s.bus.room)
        if not failpoint("renew.before_reply"):
            await self._reply(calls, replies)

    async def _lease(self, calls: list[Call]) -> None:
        (call,) = calls
        s = self._s
        match call.request:
            case OpenSession() as request:
                await self._reply(calls, [await leases.open_session(s.pool, s.routes, call.namespace, request)])
            case Resume() as request:
                await self._answer(calls, await resuming.resume(s.pool, call.namespace, request))
            case CloseSession() as request:
                await self._answer(calls, await leases.close_session(s.pool, call.namespace, request))

    async def _look(self, calls: list[Call]) -> None:
        """Read for many Status and Watch calls at once."""
        s = self._s
        for call in calls:
            if isinstance(call.request, Watch):
                s.watchers.watch(call.namespace, call.request)
        found = await status.statuses(s.pool, [(call.namespace, i) for call in calls for i in call.request.ids])
        asked = [(call.namespace, i) for call in calls if isinstance(call.request, Status) for i in call.request.ids]
        explained = await reads.explain(s.pool, {key: found[key] for key in asked if key in found})
        explained = await status.tried(s.pool, explained)
        replies = []
        for call in calls:
            known = found if isinstance(call.request, Watch) else explained
            mine = {i: known[call.namespace, i] for i in call.request.ids if (call.namespace, i) in known}
            if isinstance(call.request, Watch):
                s.watchers.saw(call.namespace, call.request.ids, mine)
            replies.append(status.reply(call.request.ids, mine, room=s.bus.room))
        await self._reply(calls, replies)

    async def _read(self, calls: list[Call]) -> None:
        (call,) = calls
        s = self._s
        await self._reply(calls, [await reads.answer(s.pool, call.namespace, call.request, room=s.bus.room)])


def _decode(namespace: str, op: str, data: bytes) -> Request[Any]:
    if not is_token(namespace):
        raise UsageError(f"namespace {namespace[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
    if (kind := REQUESTS.get(op)) is None:
        raise Unsupported(f"this aikid does not know {op[:80]!r}: it may be older than its caller")
    if len(data) > MESSAGE_BYTES:
        raise PayloadError(f"a request of {len(data):,} bytes is over the limit of {MESSAGE_BYTES:,}")
    try:
        request: Request[Any] = codec.decoder(kind).decode(data)
    except msgspec.ValidationError as error:
        raise UsageError(f"the request {op!r} does not have the right shape: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"the request {op!r} is not JSON: {error}") from error
    except RecursionError as error:
        raise PayloadError(f"the request {op!r} is nested too deep") from error
    return request


def _overloaded(op: str) -> Overloaded:
    return Overloaded(f"aikid is beyond its budget for {op!r}", retry_after=_RETRY_SECONDS)


def _weight(call: Call) -> int:
    request = call.request
    rows = getattr(request, "runs", None) or getattr(request, "ids", None) or getattr(request, "units", None) or ()
    return 1 + len(rows) + call.bytes // _WEIGHED_BYTES
