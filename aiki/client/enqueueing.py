"""Own how calls become stored runs: their ids, the bound of their size, and the requests that they travel in.

Calls that are made at the same time travel together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from aiki.client.batching import Batcher, in_lanes
from aiki.client.named import NamedCall, RouteBook
from aiki.client.run_ids import RunIds
from aiki.client.waits import Waits
from aiki.client.wire import Wire
from aiki.core.errors import WIRE_ERRORS, AikiError, Conflict, RunEnded
from aiki.core.failpoints import failpoint
from aiki.definitions.call import Call
from aiki.wire import weights
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Enqueue, Enqueued, NewRun
from aiki.wire.packing import PAYLOAD_BYTES_LEAST, check_payload, requests

ENQUEUE_SECONDS: Final = 30.0
ENQUEUE_LANES: Final = 3
AWAITED_RUNS: Final = 4
CHUNK_RUNS: Final = 500
"""Small enough that the daemon writes one chunk while the next is on its way."""
AnyCall: TypeAlias = Call[Any] | NamedCall


class Enqueueing:
    """The way of a client's calls to the daemon. What is answered is stored."""

    def __init__(self, wire: Wire, waiting: Waits, routes: RouteBook) -> None:
        self._wire = wire
        self._waits = waiting
        self._ids = RunIds()
        self._routes = routes
        self._alone: Batcher[NewRun, Enqueued] = Batcher(self._send, size=BATCH_RUNS // 4, lanes=ENQUEUE_LANES)

    async def one(self, call: AnyCall) -> Enqueued:
        """Return what became of the call; it may be a refusal. Raises PayloadError before anything is sent."""
        self._wire.check_loop()
        return await self._alone.add(await self._to_new_run(call))

    async def batch(self, calls: Sequence[AnyCall]) -> list[Enqueued]:
        """Return, in order, what became of each. Raises the first payload's error before anything is sent."""
        self._wire.check_loop()
        runs = [await self._to_new_run(call) for call in calls]
        return await in_lanes(self._chunks(runs), self._send, lanes=ENQUEUE_LANES)

    async def _to_new_run(self, call: AnyCall) -> NewRun:
        run_id = self._ids.next()
        run = await self._routes.to_new_run(call, run_id) if isinstance(call, NamedCall) else call.to_new_run(run_id)
        size = len(run.input) + (0 if run.options.send is None else len(run.options.send.value))
        if size > PAYLOAD_BYTES_LEAST:
            check_payload(size, f"the payload of {run.workflow!r}", room=self._wire.room)
        return run

    async def _send(self, runs: Sequence[NewRun]) -> list[Enqueued]:
        enqueued: list[Enqueued] = []
        # Whoever enqueues a few runs is likely to wait for them, whoever enqueues many is not.
        inbox = self._waits.expect([run.id for run in runs]) if len(runs) <= AWAITED_RUNS else None
        # One run cannot be cut, so nobody need weigh it.
        for chunk in self._chunks(runs) if len(runs) > 1 else (runs,):
            failpoint("client.before_enqueue")
            enqueued += (await self._wire.call(Enqueue(list(chunk), inbox), seconds=ENQUEUE_SECONDS)).runs
            failpoint("client.after_enqueue")
        return enqueued

    def _chunks(self, runs: Sequence[NewRun]) -> Iterator[Sequence[NewRun]]:
        """Yield the runs in order, as many at a time as fit one request, and its reply if all were refused."""
        return requests(runs, weights.of_run, self._wire.room, CHUNK_RUNS)


def refusal(answer: Enqueued, call: AnyCall) -> AikiError | None:
    """Return the error that a call was refused with, or None."""
    if answer.error is None:
        return None
    code, message = answer.error.code, answer.error.message
    hint = f'await client.handle("{answer.id}").status()'
    first = (call.run_options if isinstance(call, NamedCall) else call.options).send
    if code == RunEnded.code and first is not None:
        return RunEnded(message, run_id=answer.id, event=first.name, result="ended", hint=hint)
    kind = WIRE_ERRORS.get(code, AikiError)
    return kind(message) if kind is not Conflict else Conflict(message, hint=hint, command=f"aiki status {answer.id}")
