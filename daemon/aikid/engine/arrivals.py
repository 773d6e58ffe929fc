"""Bring events to runs: many senders and runs in one commit; and read for a worker what its run has not taken yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiki.core.errors import PayloadError
from aiki.core.failpoints import failpoint
from aiki.rules.checking import check_send
from aiki.rules.importing import REFUSED
from aiki.wire import declared, weights
from aiki.wire.limits import LIST_ITEMS, UNREAD_EVENTS
from aiki.wire.messages import Inbox, InboxReply, Outcome, Send, SendReply, Sent
from aiki.wire.packing import page, reply_room, too_large
from aikid.engine import imports
from aikid.engine.changes import Changes, Done
from aikid.engine.status import no_run
from aikid.store import inbox as store
from aikid.store import routes
from aikid.store.inbox import Reached
from aikid.store.pool import BadData, Connection, Pool
from aikid.store.unread import Unread, unread

_WHY: Final = {
    "full": f"it has {UNREAD_EVENTS:,} that it has not taken yet, and can have no more: send it later",
    "conflict": "another value was sent with this idempotency key",
    "imported": f"it {REFUSED}",
}


async def send(pool: Pool, calls: Sequence[tuple[str, Send]], *, room: int) -> Done[SendReply]:
    """Bring the events of calls (namespace and request) to their runs, and say of each what became of it.

    What no message of `room` bytes could bring to a worker later is refused. Raises Unavailable.
    """
    events = [event for _, request in calls for event in request.items]
    batch = _Batch(
        pool,
        [namespace for namespace, request in calls for _ in request.items],
        events,
        [_refusal(event, room) for event in events],
    )
    places = [place for place, known in enumerate(batch.outcomes) if known is None]
    if places:
        await batch.write(places)
    await batch.look_for_copies()
    replies = []
    outcomes = iter(batch.told())
    for _, request in calls:
        replies.append(SendReply([next(outcomes) for _ in request.items]))
    return Done(replies, batch.changes)


@dataclass(slots=True)
class _Batch:
    pool: Pool
    namespaces: Sequence[str]
    events: Sequence[Sent]
    outcomes: list[Outcome | None]
    """In the order of the events; none for what was not written yet."""
    changes: Changes = field(default_factory=Changes)

    async def write(self, places: list[int]) -> None:
        """Send the events at `places`; halve a batch that Postgres refuses for its data until the bad one is alone."""
        try:
            outcomes, reached = await self.pool.run(lambda c: self._statement(c, places))
        except BadData as error:
            if len(places) == 1:
                self.outcomes[places[0]] = Outcome("refused", message=str(error))
                return
            half = len(places) // 2
            await self.write(places[:half])
            await self.write(places[half:])
            return
        for place, outcome in zip(places, outcomes, strict=True):
            self.outcomes[place] = outcome
            if outcome.result == "taken":
                self.changes.recorded[self.namespaces[place]].append(self.events[place].run_id)
        note(self.changes, reached)

    async def look_for_copies(self) -> None:
        """Say of events for runs that were imported that these take none: no statement has met them."""
        met = zip(self.namespaces, self.events, self.outcomes, strict=True)
        unknown = {place: run for place, (run, _, one) in enumerate(met) if one is not None and one.result == "unknown"}
        for namespace in set(unknown.values()):
            places = [place for place, name in unknown.items() if name == namespace]
            copies = await imports.among(self.pool, namespace, [self.events[place].run_id for place in places])
            for place in places:
                if self.events[place].run_id in copies:
                    self.outcomes[place] = Outcome("imported")

    async def _statement(self, connection: Connection, places: Sequence[int]) -> tuple[list[Outcome], Reached]:
        failpoint("send.before_commit")
        namespaces, events = [self.namespaces[place] for place in places], [self.events[place] for place in places]
        try:
            outcomes, reached = await store.send(connection, namespaces, events)
        except ValueError as error:
            raise BadData(str(error)) from error
        refused = [event.run_id for event, outcome in zip(events, outcomes, strict=True) if outcome.result == "refused"]
        if refused:
            taken = await routes.taken_by(connection, refused)
            outcomes = [_undeclared(*each, taken) for each in zip(events, outcomes, strict=True)]
        return outcomes, reached

    def told(self) -> Iterable[Outcome]:
        """Return what became of each event, with words for people."""
        for namespace, event, outcome in zip(self.namespaces, self.events, self.outcomes, strict=True):
            assert outcome is not None
            yield Outcome(outcome.result, outcome.state, outcome.message or _why(namespace, event, outcome))


def note(changes: Changes, reached: Reached) -> None:
    """Take note of whom arrivals have reached."""
    for namespace, workflow, version, run_id in reached.queued:
        changes.queued[namespace, workflow, version] += 1
        changes.woken[namespace, workflow, version] += 1
        changes.changed[namespace].append(run_id)
    for namespace, session, run_id, news in reached.held:
        changes.told[namespace, session].append((run_id, news))
    for run, arrivals in reached.came.items():
        changes.came[run] += arrivals


async def inbox(pool: Pool, namespace: str, request: Inbox, *, room: int) -> InboxReply:
    """Return what a run has not taken yet, or the ends of children that it has, as much as fits `room`.

    Raises NotFound, also for one that has ended unless that is asked for, Unavailable, and PayloadError if the next
    arrival fits no message.
    """
    run_id, after = request.run_id, request.after

    async def work(connection: Connection) -> dict[str, Unread]:
        return await unread(
            connection,
            namespace,
            [run_id],
            after=after,
            most=LIST_ITEMS,
            limit_bytes=room,
            is_forced=True,
            ends=request.ends,
            ended=request.ended,
        )

    found = (await pool.run(work)).get(run_id)
    if found is None:
        raise no_run(run_id, namespace)
    found.arrivals = page(found.arrivals, weights.of_arrival, room)
    if found.arrivals and weights.of_arrival(first := found.arrivals[0]) > reply_room(room):
        raise too_large(f"arrival {first.number} of run {run_id}", len(first.value), room=room)
    more = found.count > len(found.arrivals)
    return InboxReply(found.arrivals, found.news(after), more, found.wanted)


def _why(namespace: str, event: Sent, outcome: Outcome) -> str | None:
    run = f"run {event.run_id} takes no event {event.name!r}"
    if outcome.result == "unknown":
        return no_run(event.run_id, namespace).message
    if outcome.result == "ended":
        return f"{run}: it is {outcome.state}"
    return f"{run}: {_WHY[outcome.result]}" if outcome.result in _WHY else None


def _undeclared(event: Sent, outcome: Outcome, taken: Mapping[str, tuple[str, frozenset[str]]]) -> Outcome:
    """Return the outcome, with what was meant if the run's workflow does not take the event."""
    if outcome.result != "refused" or event.run_id not in taken:
        return outcome
    workflow, names = taken[event.run_id]
    return Outcome("unknown", message=declared.unknown(workflow, event.name, names))


def _refusal(event: Sent, room: int) -> Outcome | None:
    try:
        check_send(event, room=room)
    except PayloadError as error:
        return Outcome("refused", message=error.message)
    return None
