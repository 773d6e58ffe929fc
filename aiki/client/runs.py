"""Own what a client does with many runs: lists, histories, inputs, counts, and events for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec.structs import replace

from aiki.client import control, counts, explaining, matching, named_events, rerouting, retrying, waits
from aiki.client.children import Children
from aiki.client.control import Order
from aiki.client.counts import NamespaceSummary
from aiki.client.following import Follows
from aiki.client.history import HistoryEntry, to_entry
from aiki.client.matching import RunCount, RunFilter
from aiki.client.named import RouteBook
from aiki.client.rerouting import Reroute
from aiki.client.retrying import Successor
from aiki.client.sending import Parcel, Sending, SendOutcome
from aiki.client.summaries import Summaries
from aiki.client.unknown import unknown_run
from aiki.client.wire import Wire
from aiki.core.errors import AikiError, NotFound, UsageError
from aiki.core.states import SETTLED, State
from aiki.definitions import status, stored
from aiki.definitions.call import Call
from aiki.definitions.retrying import RetryOrder
from aiki.definitions.status import RunStatus
from aiki.definitions.view import RunView
from aiki.definitions.why import Why
from aiki.inside.event import Event
from aiki.wire import messages
from aiki.wire.messages import Find, History, Input, Resume, Wake

if TYPE_CHECKING:
    from aiki.client.deleting import DeletedRun
    from aiki.client.importing import ImportOutcome
    from aiki.client.storage import StorageUse
    from aiki.replay.recording import Recording

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of runs, newest first. `cursor` asks for the next page; None after the last."""

    runs: list[RunStatus]
    cursor: str | None


class Runs:
    """The runs of the client's namespace."""

    def __init__(self, wire: Wire, routes: RouteBook, sending: Sending, follows: Follows) -> None:
        self._wire = wire
        self._routes = routes
        self._sending = sending
        self._follows = follows
        self._summaries = Summaries(wire)

    async def status(self, run_ids: Iterable[str], *, follow: bool = True, explain: bool = True) -> Sequence[RunStatus]:
        """Return the runs in the order asked, of one that was retried its newest retry; `retry_of` says so.

        With `follow=False` that run itself, and `retried_by` says which has taken its place. Of up to 20 runs that have
        not ended `why` is the whole sentence, which costs a second request, unless `explain` is false. Raises NotFound
        if one does not exist.
        """
        wanted = list(run_ids)
        found = await waits.read(self._wire, wanted)
        if follow:
            found = await retrying.newest(self._wire, found)
        for run_id in wanted:
            if run_id not in found:
                raise unknown_run(run_id, self._wire.namespace)
        if explain:
            found = await explaining.explained(self._wire, found)
        return [status.from_wire(found[run_id]) for run_id in wanted]

    async def why(self, run_id: str) -> Why:
        """Return why a run does not move; as `Handle.why`. Raises NotFound."""
        return await explaining.explain(self._wire, run_id)

    async def follow(self, run_ids: Iterable[str]) -> AsyncGenerator[RunView, None]:
        """Yield runs in full as they are now, then each again at its changes, as `Handle.follow`.

        It ends when none of them can move by itself: each has ended, or is blocked or paused. Raises NotFound.
        """
        async with aclosing(self._follows.follow(run_ids, until=SETTLED)) as views:
            async for view in views:
                yield view

    async def summaries(self) -> AsyncGenerator[NamespaceSummary, None]:
        """Yield the namespace's `summary` now, and whenever something in it has changed, at most twice a second."""
        async with aclosing(self._summaries.follow()) as pushed:
            async for summary in pushed:
                yield summary

    async def list(
        self,
        *,
        states: Iterable[State] = (),
        workflow: str | None = None,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        roots: bool = False,
        parent: str | None = None,
        version: str | None = None,
        key: str | None = None,
        key_prefix: str | None = None,
        error: str | None = None,
        worker: str | None = None,
        priority: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RunPage:
        """Return a page of runs, newest first; by a `key_prefix` in the order of their keys.

        All `labels` must match. `roots` are the runs that no other has started; with the id of a `parent` the list is
        of its children, the last started first. A `key` is held by one run of a workflow: of those that were retried by
        the newest. However many runs there are, a page costs what it shows: it is not empty if there is one. But no
        index has the type of an `error`, the `worker` that has taken a run up, and its `priority`: by these a page
        looks at 10,000 of the runs that are all else, and may be empty while its cursor goes on. A result of more than
        4 KiB is left out, and `result_bytes` says its size. Raises UsageError for words that exclude each other.
        """
        wanted = RunFilter(
            states=states,
            workflow=workflow,
            labels=labels or {},
            since=since,
            before=before,
            roots=roots,
            parent=parent,
            version=version,
            key=key,
            key_prefix=key_prefix,
            error=error,
            worker=worker,
            priority=priority,
        )
        request = replace(wanted.request(), limit=limit, cursor=cursor)
        reply = await matching.read(self._wire, request)
        while not reply.runs and reply.cursor is not None and not wanted.refines:
            reply = await matching.read(self._wire, replace(request, cursor=reply.cursor))
        return RunPage([status.from_wire(run) for run in reply.runs], reply.cursor)

    async def count(
        self,
        *,
        states: Iterable[State] = (),
        workflow: str | None = None,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        roots: bool = False,
        parent: str | None = None,
        version: str | None = None,
        key: str | None = None,
        key_prefix: str | None = None,
        error: str | None = None,
        worker: str | None = None,
        priority: int | None = None,
    ) -> RunCount:
        """Return how many runs `list` would have on all its pages, counted to 10,000."""
        wanted = RunFilter(
            states=states,
            workflow=workflow,
            labels=labels or {},
            since=since,
            before=before,
            roots=roots,
            parent=parent,
            version=version,
            key=key,
            key_prefix=key_prefix,
            error=error,
            worker=worker,
            priority=priority,
        )
        return await matching.count(self._wire, wanted)

    async def count_matching(self, wanted: RunFilter, /) -> RunCount:
        """Return how many runs a filter means, as `matching` yields them, counted to 10,000."""
        return await matching.count(self._wire, matching.unended(wanted))

    async def history(self, run_id: str) -> AsyncGenerator[HistoryEntry, None]:
        """Yield the run's story from its birth. Raises NotFound."""
        cursor: str | None = None
        children = Children()
        while True:
            reply = await self._wire.call(History(run_id, cursor))
            for item in reply.items:
                yield to_entry(item, children)
            if reply.cursor is None:
                return
            cursor = reply.cursor

    async def input(self, run_id: str) -> Any:
        """Return the payload of the run's generation; as `Unreadable` if it cannot be read. Raises NotFound."""
        return stored.read((await self._wire.call(Input(run_id))).input)

    def export(
        self, runs: Iterable[str] | RunFilter, /, *, limit: int | None = None, history: bool = False
    ) -> AsyncGenerator[Recording, None]:
        """Yield runs as they are recorded, with all that a replay needs: inputs, journals, what has come to them.

        They are named, or meant by a filter: the first `limit` of them then, newest first, and without `states` those
        that have ended, too. With `history` each brings its story. Few of them are in memory at once, and nothing
        changes on the server. Raises NotFound if one that is named does not exist.
        """
        from aiki.replay.reading import recordings  # few programs have to do with them

        if isinstance(runs, RunFilter):
            found, is_named = matching.pages(self._wire, runs, ended=True), False
        else:
            found, is_named = matching.named([*runs]), True
        some = matching.paced(found, limit=limit, per_second=None)
        return recordings(self._wire, some, named=is_named, history=history)

    async def import_run(self, recording: Recording, /, *, actor: str | None = None) -> ImportOutcome:
        """Import a run that was exported elsewhere, to be looked at here: it is never claimed, and obeys no order.

        One that has ended keeps its state, any other is paused, and says where it is from and what it was. A repeat
        changes nothing, and completes what a break has cut off. What stands in its way is the outcome's `error`.
        """
        from aiki.client.importing import take

        return await take(self._wire, recording, actor=actor)

    def matching(
        self, wanted: RunFilter, /, *, limit: int | None = None, per_second: float | None = None
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of the runs that a filter means, some at a time: for an order, or an event, to each batch.

        At most `limit` of them, and no more than `per_second` a second.
        """
        return matching.paced(matching.pages(self._wire, wanted), limit=limit, per_second=per_second)

    async def pause(self, run_id: str, *, reason: str | None = None, actor: str | None = None) -> RunStatus:
        """Hold a run until it is resumed; as `Handle.pause`. Raises NotFound, or Conflict if its state forbids it.

        `actor` is who wants it, for the run's story: whoever this process belongs to, if nobody is named.
        """
        return status.from_wire(await control.obey(self._wire, Order.pause(actor=actor, reason=reason), run_id))

    async def pause_batch(
        self, runs: Iterable[str] | RunFilter, *, reason: str | None = None, actor: str | None = None
    ) -> Sequence[RunStatus | AikiError]:
        """Hold many runs, and return of each in order how it is since, or the error of one that does not obey."""
        return await self._obeyed(Order.pause(actor=actor, reason=reason), runs)

    async def cancel(
        self, run_id: str, *, reason: str | None = None, actor: str | None = None, force: bool = False
    ) -> RunStatus:
        """Cancel a run; as `Handle.cancel`. Raises NotFound, or Conflict if it has ended otherwise."""
        order = Order.cancel(actor=actor, reason=reason, force=force)
        return status.from_wire(await control.obey(self._wire, order, run_id))

    async def cancel_batch(
        self,
        runs: Iterable[str] | RunFilter,
        *,
        reason: str | None = None,
        actor: str | None = None,
        force: bool = False,
    ) -> Sequence[RunStatus | AikiError]:
        """Cancel many runs, and return of each in order how it is since, or why it is not cancelled."""
        return await self._obeyed(Order.cancel(actor=actor, reason=reason, force=force), runs)

    async def wake(self, run_id: str, *, actor: str | None = None) -> RunStatus:
        """End a run's sleep; as `Handle.wake`. Raises NotFound, or Conflict if its state forbids it."""
        return status.from_wire(await control.obey(self._wire, Order(Wake, actor), run_id))

    async def wake_batch(
        self, runs: Iterable[str] | RunFilter, *, actor: str | None = None
    ) -> Sequence[RunStatus | AikiError]:
        """End the sleeps of many runs, and return of each in order how it is since, or why it does not obey."""
        return await self._obeyed(Order(Wake, actor), runs)

    async def resume(self, run_id: str, *, actor: str | None = None) -> RunStatus:
        """Let a paused, blocked or retrying run go on. Raises NotFound, or Conflict if its state forbids it."""
        return status.from_wire(await control.obey(self._wire, Order(Resume, actor), run_id))

    async def resume_batch(
        self, runs: Iterable[str] | RunFilter, *, actor: str | None = None
    ) -> Sequence[RunStatus | AikiError]:
        """Let many runs go on, and return of each in order how it is since, or the error of one that does not obey."""
        return await self._obeyed(Order(Resume, actor), runs)

    async def move(
        self, run_id: str, version: str, *, keep_blocked: bool = False, force: bool = False, actor: str | None = None
    ) -> RunStatus:
        """Have another version of its workflow carry out a run; as `Handle.move`. Raises NotFound, too."""
        order = Reroute(version, actor, keep_blocked=keep_blocked, force=force)
        return status.from_wire(await rerouting.move(self._wire, self._routes, order, run_id))

    async def move_batch(
        self,
        runs: Iterable[str] | RunFilter,
        version: str,
        *,
        claims: Mapping[str, int] | None = None,
        keep_blocked: bool = False,
        force: bool = False,
        limit: int | None = None,
        actor: str | None = None,
    ) -> Sequence[RunStatus | AikiError]:
        """Have another version carry out many runs, and return of each in order how it is since, or why it stays.

        `claims` are how often each had been claimed when it was replayed (`Recording.exported.run.claims`): one that
        was claimed since stays. Of a filter without states that is all that is queued, scheduled, paused or blocked.
        """
        order = Reroute(version, actor, keep_blocked=keep_blocked, force=force)
        found = (
            self.matching(rerouting.movable(runs, version)) if isinstance(runs, RunFilter) else matching.named([*runs])
        )
        outcomes: list[messages.RunStatus | AikiError] = []
        async for ids in matching.paced(found, limit=limit, per_second=None):
            outcomes += await rerouting.move_all(self._wire, self._routes, order, ids, claims=claims)
        return [one if isinstance(one, AikiError) else status.from_wire(one) for one in outcomes]

    async def retry(
        self,
        run_id: str,
        *,
        from_task: str | None = None,
        from_start: bool = False,
        input: Call[Any] | Mapping[str, Any] | None = None,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
        actor: str | None = None,
    ) -> RunStatus:
        """Have a run that failed or was cancelled go on in a new one, which is returned; as `Handle.retry`.

        Raises NotFound, or Conflict if it cannot be retried so.
        """
        order = RetryOrder.of(
            from_task=from_task, from_start=from_start, input=input, force=force, actor=actor, keep=keep, again=again
        )
        new = await retrying.retry(self._wire, self._routes, order, run_id)
        return (await self._successors({run_id: new}))[run_id]

    async def retry_batch(
        self,
        runs: Iterable[str] | RunFilter,
        *,
        from_task: str | None = None,
        from_start: bool = False,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
        limit: int | None = None,
        per_second: float | None = None,
        actor: str | None = None,
    ) -> Sequence[RunStatus | AikiError]:
        """Retry many runs, and return of each in order the run that goes on in its place, or why none does.

        Of a filter without states that is all that failed or were cancelled; what was retried before is left out.
        At most `limit` of them are, and `per_second` a second.
        """
        order = RetryOrder.of(
            from_task=from_task, from_start=from_start, force=force, actor=actor, keep=keep, again=again
        )
        found = self.matching(matching.retriable(runs)) if isinstance(runs, RunFilter) else matching.named([*runs])
        outcomes: list[RunStatus | AikiError] = []
        async for ids in matching.paced(found, limit=limit, per_second=per_second):
            outcomes += await self._retried(order, ids)
        return outcomes

    async def delete(
        self,
        runs: Iterable[str] | RunFilter,
        *,
        forget_keys: bool = False,
        limit: int | None = None,
        per_second: float | None = None,
        preview: bool = False,
        actor: str | None = None,
    ) -> Sequence[DeletedRun | AikiError]:
        """Delete runs that have ended, each with its retries and what these have started, in a commit of its own.

        Return of each in order how many went, or why it stays: it has not ended, or another run may read it again. Of a
        filter without states that is all that have ended. Their idempotency keys stay taken as those of runs that grow
        too old, unless they are to be forgotten. With `preview` nothing is deleted, and the same told.
        """
        from aiki.client.deleting import Deletion, delete_all  # few programs delete anything

        order = Deletion(forget_keys, preview, actor)
        meant = matching.ended(runs) if isinstance(runs, RunFilter) else None
        found = matching.named([*runs]) if meant is None else self.matching(meant)  # type: ignore[misc]
        outcomes: list[DeletedRun | AikiError] = []
        async for ids in matching.paced(found, limit=limit, per_second=per_second):
            outcomes += await delete_all(self._wire, order, ids)
        return outcomes

    async def _retried(self, order: RetryOrder, run_ids: Sequence[str]) -> Sequence[RunStatus | AikiError]:
        outcomes = dict(zip(run_ids, await retrying.retry_all(self._wire, order, run_ids), strict=True))
        refused = {run_id: one for run_id, one in outcomes.items() if isinstance(one, AikiError)}
        new = await self._successors({run_id: one for run_id, one in outcomes.items() if isinstance(one, Successor)})
        return [refused.get(run_id) or new[run_id] for run_id in run_ids]

    async def _successors(self, of: Mapping[str, Successor]) -> dict[str, RunStatus]:
        """Return the runs that go on in the places of others."""
        found = await waits.read(self._wire, [one.run_id for one in of.values()])
        return {run_id: status.from_wire(replace(found[one.run_id], retry_of=run_id)) for run_id, one in of.items()}

    async def _obeyed(self, order: Order, runs: Iterable[str] | RunFilter) -> Sequence[RunStatus | AikiError]:
        outcomes: list[messages.RunStatus | AikiError] = []
        if isinstance(runs, RunFilter):
            async for ids in self.matching(runs):
                outcomes += await control.obey_all(self._wire, order, ids)
        else:
            outcomes += await control.obey_all(self._wire, order, [*runs])
        return [one if isinstance(one, AikiError) else status.from_wire(one) for one in outcomes]

    @overload
    async def send(
        self, run_ids: Iterable[str], event: Event[None], /, *, idempotency_key: str | None = None
    ) -> Sequence[SendOutcome]: ...
    @overload
    async def send(
        self, run_ids: Iterable[str], event: Event[V], value: V, /, *, idempotency_key: str | None = None
    ) -> Sequence[SendOutcome]: ...
    @overload
    async def send(
        self, run_ids: Iterable[str], event: str, value: Any = None, /, *, idempotency_key: str | None = None
    ) -> Sequence[SendOutcome]: ...
    async def send(
        self,
        run_ids: Iterable[str],
        event: Event[Any] | str,
        value: Any = None,
        /,
        *,
        idempotency_key: str | None = None,
    ) -> Sequence[SendOutcome]:
        """Send many runs an event in few commits, and return, in order, what became of each.

        An event may also be named: its value is plain JSON then, and is checked by what the workflow of each run
        declares. With an `idempotency_key` a repeat sends no run the event twice. Raises PayloadError before anything
        is sent; whatever else stands in the way of one run is its `error`, and the others are sent theirs.
        """
        wanted = list(run_ids)
        if isinstance(event, str):
            parcels = await named_events.parcels(self._wire, self._routes, wanted, event, value)
        else:
            parcel = Parcel.of(event.bind(value))
            parcels = [(run_id, parcel) for run_id in wanted]
        return await self._sending.many(parcels, idempotency_key)

    async def check_event(self, wanted: RunFilter, event: str, value: Any = None, /) -> None:
        """Raise PayloadError if the value of an event does not fit what the workflow of a run that is meant declares.

        It is what `send` asks of runs that are named, for those that are sent it some at a time.
        """
        await named_events.check(self._wire, self._routes, wanted, event, value)

    async def find(self, reference: str) -> str:
        """Return the id of a run named by its id, a prefix or suffix of it (8 characters or more), or `workflow@key`.

        Raises NotFound, or UsageError if several runs match.
        """
        ids = (await self._wire.call(Find(reference))).ids
        if not ids:
            raise NotFound(
                f"no run matches {reference!r} in namespace {self._wire.namespace!r}",
                hint="await client.runs.list()",
                command="aiki run list",
            )
        if len(ids) > 1:
            raise UsageError(f"{reference!r} matches several runs: {', '.join(ids)}")
        return ids[0]

    async def storage(self) -> StorageUse:
        """Return how much the tables take up, and which workflows' runs: by a sample, where there are many."""
        from aiki.client.storage import storage  # few programs look at it

        return await storage(self._wire)

    async def summary(self) -> NamespaceSummary:
        """Return the namespace at a glance: runs by state, what waits, what was done lately, what is amiss, who works.

        Runs of a version are counted to 10,000 in each state. What was done in the last minutes is as the daemons have
        written it, every few seconds; what one had not written that was killed is left out.
        """
        return await counts.summary(self._wire)
