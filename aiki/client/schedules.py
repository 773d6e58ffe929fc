"""Own the schedules of a client's namespace: here they are made, changed, found by their names, and given orders.

A declaration is checked before anything is sent: the payload by its workflow's types, or by what workers have
registered; when it fires by the rules that fire it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import structs

from aiki.client import applying, schedule_orders
from aiki.client.applying import Plan
from aiki.client.control import person
from aiki.client.named import NamedCall, RouteBook
from aiki.client.schedule import Schedule
from aiki.client.schedule_info import SlotInfo, from_wire
from aiki.client.schedule_orders import checked_name
from aiki.client.when import UNCHANGED, WORDS, Firing, When, changed
from aiki.client.wire import Wire
from aiki.core.duration import Duration
from aiki.core.errors import AikiError, Conflict, NotFound, UsageError
from aiki.definitions.call import Call
from aiki.definitions.handle import Door
from aiki.definitions.options import NO_OPTIONS
from aiki.wire.messages import NewRun, NewSchedule, PutReply, PutSchedule, RunOptions, Spec
from aiki.wire.messages.schedules import CatchUp, Overlap
from aiki.wire.packing import check_payload

if TYPE_CHECKING:
    from aiki.payload import Result

R = TypeVar("R")


class Schedules:
    """The schedules of the client's namespace."""

    def __init__(self, wire: Wire, door: Door, routes: RouteBook) -> None:
        self._wire = wire
        self._door = door
        self._routes = routes

    @overload
    async def create(
        self,
        name: str,
        call: Call[R],
        /,
        *,
        cron: str,
        timezone: str = "UTC",
        overlap: Overlap = "skip",
        catch_up: CatchUp = "latest",
        window: Duration | None = None,
        jitter: Duration | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Schedule[R]: ...
    @overload
    async def create(
        self,
        name: str,
        call: Call[R],
        /,
        *,
        every: Duration,
        anchor: datetime | None = None,
        overlap: Overlap = "skip",
        catch_up: CatchUp = "latest",
        window: Duration | None = None,
        jitter: Duration | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Schedule[R]: ...
    @overload
    async def create(self, name: str, call: Call[R], /, *, at: datetime) -> Schedule[R]: ...
    @overload
    async def create(
        self,
        name: str,
        call: NamedCall | str,
        payload: Mapping[str, Any] | None = None,
        /,
        *,
        cron: str | None = None,
        every: Duration | None = None,
        at: datetime | None = None,
        timezone: str = "UTC",
        anchor: datetime | None = None,
        overlap: Overlap = "skip",
        catch_up: CatchUp = "latest",
        window: Duration | None = None,
        jitter: Duration | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        version: str | None = None,
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        timeout: Duration | None = None,
        cancel_timeout: Duration | None = None,
    ) -> Schedule[Any]: ...
    async def create(
        self,
        name: str,
        call: Call[Any] | NamedCall | str,
        payload: Mapping[str, Any] | None = None,
        /,
        **given: Any,
    ) -> Schedule[Any]:
        """Have a workflow run by the calendar (`cron`, read in `timezone`), at an interval (`every`), or once (`at`).

        Each slot is one run, also if daemons die: `run.schedule` tells it which. While a run of the schedule has not
        ended, a slot is passed over ("skip"), waits for it ("queue"), cancels it ("cancel_previous"), or starts beside
        it ("allow"). Of the slots that no daemon fired in time the "latest" is fired afterwards, "none" or "all" of
        them, if they are no older than `window`, a day if nothing is said. `jitter` spreads the runs: each comes by
        less than that later, always by the same.

        A repeat with the same declaration changes nothing. Raises Conflict if the name is taken, UsageError or
        PayloadError before anything is sent, and for a call by name NotFound if no worker has served its workflow.
        """
        said = {word: value for word, value in given.items() if value is not None}
        spec = changed(Spec(), {word: said.pop(word) for word in WORDS if word in said})
        run = await self._to_run(_made(call, payload, said))
        made = NewSchedule(
            str(uuid.uuid4()), checked_name(name), run.workflow, run.version, run.input, spec, run.options
        )
        return await self._put(made, is_change=False, result=_result_of(call))

    @overload
    async def update(
        self,
        name: str,
        call: Call[R],
        /,
        *,
        cron: str | None = UNCHANGED,
        every: Duration | None = UNCHANGED,
        at: datetime | None = UNCHANGED,
        timezone: str = UNCHANGED,
        anchor: datetime | None = UNCHANGED,
        overlap: Overlap = UNCHANGED,
        catch_up: CatchUp = UNCHANGED,
        window: Duration | None = UNCHANGED,
        jitter: Duration | None = UNCHANGED,
        start: datetime | None = UNCHANGED,
        end: datetime | None = UNCHANGED,
    ) -> Schedule[R]: ...
    @overload
    async def update(
        self,
        name: str,
        call: NamedCall | None = None,
        /,
        *,
        cron: str | None = UNCHANGED,
        every: Duration | None = UNCHANGED,
        at: datetime | None = UNCHANGED,
        timezone: str = UNCHANGED,
        anchor: datetime | None = UNCHANGED,
        overlap: Overlap = UNCHANGED,
        catch_up: CatchUp = UNCHANGED,
        window: Duration | None = UNCHANGED,
        jitter: Duration | None = UNCHANGED,
        start: datetime | None = UNCHANGED,
        end: datetime | None = UNCHANGED,
    ) -> Schedule[Any]: ...
    async def update(self, name: str, call: Call[Any] | NamedCall | None = None, /, **given: Any) -> Schedule[Any]:
        """Change a schedule: what is not said stays as it is, and None is the default. It fires so from now on.

        `call` takes the place of all that it enqueues. Of two changes at once the later one stands. Raises NotFound,
        and else as `create` does.
        """
        before = (await schedule_orders.read(self._wire, name)).schedule
        made = structs.replace(before, spec=changed(before.spec, given))
        if call is not None:
            run = await self._to_run(_made(call, None, {}))
            made = structs.replace(
                made, workflow=run.workflow, version=run.version, input=run.input, options=run.options
            )
        return await self._put(made, is_change=True, result=_result_of(call))

    async def apply(
        self,
        project: str,
        declared: Mapping[str, tuple[Call[Any] | NamedCall, When]],
        /,
        *,
        prune: bool = False,
        dry_run: bool = False,
        actor: str | None = None,
    ) -> Plan:
        """Have the schedules of a project be just these, by their names; all of it in one commit.

        What has changed fires so from now on; what the project has and does not declare is paused and marked, or with
        `prune` deleted. With `dry_run` nothing is done: the plan says what would be. Raises Conflict if a name is
        another project's, or of a schedule that has none; else as `create`, with the name of the schedule.
        """
        made = [await self._declared(project, checked_name(name), *one) for name, one in declared.items()]
        return await applying.apply(self._wire, project, made, prune=prune, dry_run=dry_run, actor=actor)

    def get(self, name: str, /, *, result: Result | None = None) -> Schedule[Any]:
        """Return a schedule by its name; nobody is asked. Raises UsageError if that is no name."""
        return Schedule(checked_name(name), self._wire, self._door, result=result)

    async def list(self, *, project: str | None = None) -> Sequence[Schedule[Any]]:
        """Return all schedules by their names, or those of a manifest's project; how each stands is in its `seen`."""
        return [
            Schedule(info.schedule.name, self._wire, self._door, seen=from_wire(info))
            for info in await schedule_orders.listed(self._wire, project)
        ]

    async def next(self, name: str, count: int = 1, /) -> Sequence[Firing]:
        """Return the next slots of a schedule, and when each is fired. Raises NotFound."""
        return await schedule_orders.firings(self._wire, name, count)

    async def backfill(
        self,
        name: str,
        start: datetime,
        end: datetime,
        /,
        *,
        overlap: Overlap = "allow",
        dry_run: bool = False,
        actor: str | None = None,
    ) -> Sequence[SlotInfo]:
        """Fire slots that lie behind, as `Schedule.backfill`, and return what became of each. Raises NotFound."""
        return await schedule_orders.backfill(
            self._wire, name, start, end, overlap=overlap, dry_run=dry_run, actor=actor
        )

    async def pause_batch(
        self, names: Iterable[str], *, note: str | None = None, actor: str | None = None
    ) -> Sequence[AikiError | None]:
        """Pause schedules; of each in order None, or the error of one that does not exist."""
        return await schedule_orders.order(self._wire, names, "pause", note=note, actor=actor)

    async def resume_batch(self, names: Iterable[str], *, actor: str | None = None) -> Sequence[AikiError | None]:
        """Let schedules fire again from now on; of each in order None, or the error of one that does not exist."""
        return await schedule_orders.order(self._wire, names, "resume", actor=actor)

    async def delete_batch(self, names: Iterable[str], *, actor: str | None = None) -> Sequence[AikiError | None]:
        """Delete schedules; of each in order None, or the error of one that does not exist."""
        return await schedule_orders.order(self._wire, names, "delete", actor=actor)

    async def _declared(self, project: str, name: str, call: Call[Any] | NamedCall, when: When) -> NewSchedule:
        try:
            spec = changed(Spec(), {word: getattr(when, word) for word in WORDS})
            run = await self._to_run(call)
        except (NotFound, UsageError) as error:
            # Options of a command are no help to whoever declares.
            command = error.command if isinstance(error, NotFound) else None
            raise type(error)(f"schedule {name!r}: {error.message}", hint=error.hint, command=command) from None
        made = str(uuid.uuid4())
        return NewSchedule(made, name, run.workflow, run.version, run.input, spec, run.options, project)

    async def _to_run(self, call: Call[Any] | NamedCall) -> NewRun:
        """Return what each slot enqueues, checked. Its id is of no use."""
        run = await self._routes.to_new_run(call, "") if isinstance(call, NamedCall) else call.to_new_run("")
        _check(run.options)
        check_payload(len(run.input), f"the payload of {run.workflow!r}", room=self._wire.room)
        return run

    async def _put(self, made: NewSchedule, *, is_change: bool, result: Result | None) -> Schedule[Any]:
        reply = await self._wire.call(PutSchedule(made, is_change, person()))
        if reply.result == "unknown":
            raise await schedule_orders.unknown(self._wire, made.name)
        if reply.result == "exists" or reply.info is None:
            raise _taken(made.name, reply)
        return Schedule(made.name, self._wire, self._door, result=result, seen=from_wire(reply.info))


def _made(call: Any, payload: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Call[Any] | NamedCall:
    """Return the call that was meant: a bound workflow, or one by its name."""
    if isinstance(call, str):
        return NamedCall(call, payload or {}).options(**options)
    if payload is not None or options:
        raise UsageError("options of a bound workflow are set before: workflow.options(...).bind(...)")
    if not isinstance(call, (Call, NamedCall)):
        raise UsageError(f"{call!r} is nothing that can be enqueued", hint="workflow.bind(...), or a workflow's name")
    return call


def _result_of(call: object) -> Result | None:
    return call.result if isinstance(call, Call) else None


def _check(options: RunOptions) -> None:
    """Raise UsageError for options that say when a run starts, or which it is: of a schedule its slots say that."""
    said = {
        "idempotency_key": (options.key, "each slot is one run"),
        "start_at": (options.start_at, "each slot is when its run starts"),
        "delay": (options.delay, "jitter= spreads the runs of slots"),
        "send": (options.send, "its body may send what it needs"),
    }
    for name, (value, why) in said.items():
        if value is not None:
            raise UsageError(f"what a schedule enqueues has no {name}=: {why}")
    if options.on_conflict != NO_OPTIONS.on_conflict:
        raise UsageError("what a schedule enqueues has no on_conflict=: each slot is one run")


def _taken(name: str, reply: PutReply) -> Conflict:
    hint = f'await client.schedules.update("{name}", ...)'
    what = reply.reason or f"schedule {name!r} is there already, and differs"
    return Conflict(what, hint=hint, command=f"aiki schedule show {name}")
