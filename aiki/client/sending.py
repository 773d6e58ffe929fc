"""Own how events reach the daemon: their ids, the bound of their size, and the requests that they travel in.

Each send has an id of its own that all repeats of its request carry, so it is taken once. Sends that are made at the
same time travel together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Raw

from aiki.client.batching import Batcher, in_lanes
from aiki.client.run_ids import RunIds
from aiki.client.wire import Wire
from aiki.core.errors import AikiError, Conflict, NotFound, Overloaded, PayloadError, RunEnded, UsageError
from aiki.core.ids import parse_run_id
from aiki.definitions.options import checked_key
from aiki.inside.event import BoundEvent
from aiki.wire import weights
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Outcome, Send, Sent
from aiki.wire.packing import PAYLOAD_BYTES_LEAST, check_payload, requests

SEND_SECONDS: Final = 30.0
SEND_LANES: Final = 3
CHUNK_EVENTS: Final = 500
FULL_SECONDS: Final = 5.0
"""When to come again to a run that has too many unread events."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent: an event's name, its value as JSON, and the digest of the value's canonical form."""

    name: str
    value: bytes
    digest: str

    @classmethod
    def of(cls, event: BoundEvent[Any]) -> Parcel:
        """Return the parcel of an event whose value was encoded by its type."""
        return cls(event.event.name, event.encoded, event.digest)


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """What became of an event that was sent to a run."""

    run_id: str
    repeated: bool = False
    """The run had it already: an event of that name with the same key and value."""
    error: AikiError | None = None
    """Why the run has not got it."""


class Sending:
    """The way of a client's events to the daemon. What is answered without an error stands in the run's inbox."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._ids = RunIds()
        self._alone: Batcher[Sent, Outcome] = Batcher(self._send, size=BATCH_RUNS // 4, lanes=SEND_LANES)

    async def one(self, run_id: str, parcel: Parcel, key: str | None) -> SendOutcome:
        """Return what became of the event. Raises PayloadError before anything is sent."""
        self._wire.check_loop()
        sent = self._to_sent(run_id, parcel, key)
        return _outcome(sent, await self._alone.add(sent))

    async def many(self, parcels: Iterable[tuple[str, Parcel]], key: str | None) -> list[SendOutcome]:
        """Return, in order, what became of each run's event. Raises PayloadError before anything is sent.

        Where the daemon cannot be reached, that is what became of those that were on their way: nobody knows of them.
        """
        self._wire.check_loop()
        items = [self._to_sent(run_id, parcel, key) for run_id, parcel in parcels]
        answers = await in_lanes(self._chunks(items), self._send_or_tell, lanes=SEND_LANES)
        return [_outcome(sent, answer) for sent, answer in zip(items, answers, strict=True)]

    def _to_sent(self, run_id: str, parcel: Parcel, key: str | None) -> Sent:
        if len(parcel.value) > PAYLOAD_BYTES_LEAST:
            check_payload(len(parcel.value), f"event {parcel.name!r}", room=self._wire.room)
        try:
            to = parse_run_id(run_id)
        except ValueError:
            raise UsageError(f"{run_id!r} is not a run id") from None
        made = parcel.digest if checked_key(key) is not None else None
        return Sent(to, self._ids.next(), parcel.name, Raw(parcel.value), key, made)

    async def _send_or_tell(self, items: Sequence[Sent]) -> Sequence[Outcome | AikiError]:
        try:
            return await self._send(items)
        except AikiError as error:
            return [error] * len(items)

    async def _send(self, items: Sequence[Sent]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for chunk in self._chunks(items) if len(items) > 1 else (items,):
            outcomes += (await self._wire.call(Send(list(chunk)), seconds=SEND_SECONDS)).outcomes
        return outcomes

    def _chunks(self, items: Sequence[Sent]) -> Iterable[Sequence[Sent]]:
        return requests(items, weights.of_sent, self._wire.room, CHUNK_EVENTS)


def _outcome(sent: Sent, answer: Outcome | AikiError) -> SendOutcome:
    if isinstance(answer, AikiError):
        return SendOutcome(sent.run_id, error=answer)
    return SendOutcome(sent.run_id, answer.result == "repeated", _error(sent, answer))


def _error(sent: Sent, outcome: Outcome) -> AikiError | None:
    message = outcome.message or f"run {sent.run_id} takes no event {sent.name!r} ({outcome.result})"
    look = f'await client.handle("{sent.run_id}").status()'
    match outcome.result:
        case "taken" | "repeated":
            return None
        case "ended":
            return RunEnded(
                message, run_id=sent.run_id, event=sent.name, result="ended", state=outcome.state, hint=look
            )
        case "full":
            hint = "a worker must serve it, and its workflow wait for events of these names"
            return Overloaded(message, hint=hint, retry_after=FULL_SECONDS)
        case "conflict":
            return Conflict(message, hint="another value is another event: give it a key of its own")
        case "unknown":
            return NotFound(message)
        case "imported":
            return Conflict(message, hint="send it where the run was exported from")
        case "refused":
            return PayloadError(message)
