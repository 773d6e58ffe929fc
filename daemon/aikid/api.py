"""Own the way of a request: decode, queue in its lane, carry out in batches, reply, and have told who cares.

Handlers only queue; there is no task per request. What an operation is stands in `ops`: nothing here knows one by name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from aiki.core.errors import AikiError, Overloaded, PayloadError, Unsupported, UsageError
from aiki.core.failpoints import failpoint
from aiki.wire import codec
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.packing import too_large
from aiki.wire.subjects import is_token
from aikid.batch import Batcher
from aikid.bus import may_reply
from aikid.ops import TABLE, Lane, Op, Services
from aikid.store.pool import BadData, Collision

log = logging.getLogger("aikid.api")

_RETRY_SECONDS: Final = 0.2
_WEIGHED_BYTES: Final = 512


class Pending:
    """A request that waits for its reply."""

    __slots__ = ("answered", "inbox", "namespace", "op", "request", "weight")

    def __init__(self, op: Op, namespace: str, request: Any, inbox: str, weight: int) -> None:
        self.op = op
        self.namespace = namespace
        self.request = request
        self.inbox = inbox
        self.weight = weight
        self.answered = False


class Api:
    """Serves every operation of the table. `accept` is called by the bus, `run` flushes until `stop`."""

    def __init__(self, services: Services) -> None:
        self._s = services
        self._services = {lane: services.at(lane.priority) for lane in {op.lane for op in TABLE}}
        self._batchers = {lane: self._batcher(lane) for lane in self._services}
        self._ways = {op.name: (op, codec.decoder(op.request).decode, self._batchers[op.lane]) for op in TABLE}
        """What is done to a request, by the name of its operation: looked up once for each."""

    def _batcher(self, lane: Lane) -> Batcher[Pending]:
        return Batcher(self._flush, lane.budget, weigh=_weight, owner=_namespace)

    async def run(self) -> None:
        """Carry out what is queued until `stop`; what was accepted before is carried out still."""
        async with asyncio.TaskGroup() as tasks:
            for batcher in self._batchers.values():
                tasks.create_task(batcher.run())

    def stop(self) -> None:
        """Refuse new requests and let `run` return when all is answered."""
        for batcher in self._batchers.values():
            batcher.stop()

    def accept(self, subject: str, inbox: str, data: bytes) -> bytes | None:
        """Queue a request; return the error to answer with at once if it cannot be."""
        if not may_reply(inbox):
            return None
        _, _, namespace, _, name = subject.split(".")
        try:
            if not is_token(namespace):
                raise UsageError(f"namespace {namespace[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
            if (way := self._ways.get(name)) is None:
                raise Unsupported(f"this aikid does not know {name[:80]!r}: it may be older than its caller")
            op, decode, batcher = way
            request = _decoded(data, decode, name)
            op.check(request)
            weight = 1 + len(data) // _WEIGHED_BYTES
            if op.rows is not None:
                weight += len(getattr(request, op.rows))
            if not batcher.add(Pending(op, namespace, request, inbox, weight)):
                raise Overloaded(f"aikid is beyond its budget for {name!r}", retry_after=_RETRY_SECONDS)
        except AikiError as error:
            return codec.encode_error(error)
        return None

    async def _flush(self, calls: list[Pending]) -> None:
        """Carry out a batch; whatever fails is told to those that it failed for."""
        try:
            await self._carry_out(calls)
        except Collision as error:
            await self._blame(calls, error)
        except AikiError as error:
            await self._refuse(calls, error)
        except Exception as error:  # noqa: BLE001 - the edge of a request: it is logged, and told to its caller
            await self._blame(calls, error)

    async def _carry_out(self, calls: list[Pending]) -> None:
        op = calls[0].op
        done = await op.carry_out(self._services[op.lane], [(call.namespace, call.request) for call in calls])
        self._s.teller.before_replies(done.changes)
        if done.replies:
            await self._reply(calls, done.replies)
        failpoint(f"{op.name}.before_hint")
        await self._s.teller.tell(done.changes)

    # -- replies

    async def _reply(self, calls: Sequence[Pending], replies: Sequence[object]) -> None:
        for call, reply in zip(calls, replies, strict=True):
            await self._send(call, _encoded(reply))

    async def _send(self, call: Pending, data: bytes) -> None:
        # Replies are packed to fit; what cannot be (one huge value) must be told, or its caller would wait for ever.
        if len(data) > (room := self._s.bus.room):
            data = codec.encode_error(too_large(f"the reply to {call.op.name!r}", len(data), room=room))
        call.answered = True
        await self._s.bus.publish(call.inbox, data)

    async def _refuse(self, calls: Sequence[Pending], error: AikiError) -> None:
        waiting = [call for call in calls if not call.answered]
        await self._reply(waiting, [error] * len(waiting))

    async def _blame(self, calls: list[Pending], error: Exception) -> None:
        """Find the call that a batch failed for, and answer it: the others of its batch must not suffer for it."""
        waiting = [call for call in calls if not call.answered]
        if (half := len(waiting) // 2) > 0:
            # What is carried out once more is idempotent by its ids.
            await self._flush(waiting[:half])
            await self._flush(waiting[half:])
        elif isinstance(error, BadData):
            await self._refuse(waiting, PayloadError(f"Postgres refuses a value of this request: {error}"))
        elif isinstance(error, Collision):
            await self._refuse(waiting, error)
        else:
            log.error("a call failed: %s", calls[0].op.name, exc_info=error)
            await self._refuse(waiting, AikiError("aikid has a bug: see its log"))


def _decoded(data: bytes, decode: Callable[[bytes], Any], name: str) -> Any:
    if len(data) > MESSAGE_BYTES:
        raise PayloadError(f"a request of {len(data):,} bytes is over the limit of {MESSAGE_BYTES:,}")
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        raise UsageError(f"the request {name!r} does not have the right shape: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"the request {name!r} is not JSON: {error}") from error
    except RecursionError as error:
        raise PayloadError(f"the request {name!r} is nested too deep") from error


def _encoded(reply: object) -> bytes:
    """Return the bytes of a reply, which may be an error or bytes already."""
    if isinstance(reply, bytes):
        return reply
    return codec.encode_error(reply) if isinstance(reply, AikiError) else codec.encode_reply(reply)


def _weight(call: Pending) -> int:
    return call.weight


def _namespace(call: Pending) -> str:
    return call.namespace
