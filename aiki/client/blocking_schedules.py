"""Own the schedules for code without an event loop: each call goes through to the async ones as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from aiki.client.blocking_handle import AsyncClient, BlockingHandle
from aiki.client.portal import Portal
from aiki.client.schedule import Schedule
from aiki.client.schedule_orders import SHOWN_SLOTS
from aiki.client.when import UNCHANGED

if TYPE_CHECKING:
    from aiki.client.applying import Plan
    from aiki.client.named import NamedCall
    from aiki.client.schedule_info import ScheduleInfo, SlotInfo
    from aiki.client.schedules import Schedules
    from aiki.client.when import Firing, When
    from aiki.core.duration import Duration
    from aiki.core.errors import AikiError
    from aiki.definitions.call import Call
    from aiki.payload import Result
    from aiki.wire.messages.schedules import CatchUp, Overlap

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class BlockingSchedule(Generic[R_co]):
    """A `Schedule` whose methods block."""

    def __init__(self, schedule: Schedule[R_co], portal: Portal[AsyncClient]) -> None:
        self.name = schedule.name
        self.seen = schedule.seen
        """The schedule as it was when this was made by `create`, `update` or `list`."""
        self._result = schedule.result_type
        self._portal = portal

    def __repr__(self) -> str:
        return f"BlockingSchedule({self.name!r})"

    @property
    def _schedule(self) -> Schedule[R_co]:
        return self._portal.client.schedules.get(self.name, result=self._result)

    def info(self, *, slots: int = SHOWN_SLOTS) -> ScheduleInfo:
        """Return the schedule as it is now; as `Schedule.info`."""
        return self._portal.call(partial(self._schedule.info, slots=slots))

    def next(self, count: int = 1, /) -> list[datetime]:
        """Return its next slots; as `Schedule.next`."""
        return self._portal.call(self._schedule.next, count)

    def trigger(self) -> BlockingHandle[R_co]:
        """Fire it now; as `Schedule.trigger`."""
        return BlockingHandle(self._portal.call(self._schedule.trigger), self._portal)

    @overload
    def backfill(
        self, start: datetime, end: datetime, /, *, overlap: Overlap = "allow", dry_run: Literal[False] = False
    ) -> Sequence[BlockingHandle[R_co]]: ...
    @overload
    def backfill(
        self, start: datetime, end: datetime, /, *, overlap: Overlap = "allow", dry_run: Literal[True]
    ) -> Sequence[datetime]: ...
    def backfill(
        self, start: datetime, end: datetime, /, *, overlap: Overlap = "allow", dry_run: bool = False
    ) -> Sequence[BlockingHandle[R_co]] | Sequence[datetime]:
        """Fire slots that lie behind; as `Schedule.backfill`."""
        schedule = self._schedule
        if dry_run:
            return self._portal.call(lambda: schedule.backfill(start, end, overlap=overlap, dry_run=True))
        handles = self._portal.call(lambda: schedule.backfill(start, end, overlap=overlap))
        return [BlockingHandle(handle, self._portal) for handle in handles]

    def pause(self, *, note: str | None = None) -> None:
        """Fire nothing more until it is resumed; as `Schedule.pause`."""
        self._portal.call(partial(self._schedule.pause, note=note))

    def resume(self) -> None:
        """Fire again from now on; as `Schedule.resume`."""
        self._portal.call(self._schedule.resume)

    def delete(self) -> None:
        """Delete it; its runs stay."""
        self._portal.call(self._schedule.delete)


class BlockingSchedules:
    """The schedules of the client's namespace; as `Schedules`."""

    def __init__(self, portal: Portal[AsyncClient]) -> None:
        self._portal = portal

    @property
    def _schedules(self) -> Schedules:
        return self._portal.client.schedules

    @overload
    def create(
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
    ) -> BlockingSchedule[R]: ...
    @overload
    def create(
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
    ) -> BlockingSchedule[R]: ...
    @overload
    def create(self, name: str, call: Call[R], /, *, at: datetime) -> BlockingSchedule[R]: ...
    @overload
    def create(
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
    ) -> BlockingSchedule[Any]: ...
    def create(
        self,
        name: str,
        call: Call[Any] | NamedCall | str,
        payload: Mapping[str, Any] | None = None,
        /,
        **given: Any,
    ) -> BlockingSchedule[Any]:
        """Have a workflow run by the calendar, at an interval, or once; as `Schedules.create`."""
        return self._held(self._portal.call(partial(self._schedules.create, name, call, payload, **given)))

    @overload
    def update(
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
    ) -> BlockingSchedule[R]: ...
    @overload
    def update(
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
    ) -> BlockingSchedule[Any]: ...
    def update(self, name: str, call: Call[Any] | NamedCall | None = None, /, **given: Any) -> BlockingSchedule[Any]:
        """Change a schedule; as `Schedules.update`."""
        return self._held(self._portal.call(partial(self._schedules.update, name, call, **given)))

    def apply(
        self,
        project: str,
        declared: Mapping[str, tuple[Call[Any] | NamedCall, When]],
        /,
        *,
        prune: bool = False,
        dry_run: bool = False,
        actor: str | None = None,
    ) -> Plan:
        """Have the schedules of a project be just these; as `Schedules.apply`."""
        applied = partial(self._schedules.apply, project, declared, prune=prune)
        return self._portal.call(partial(applied, dry_run=dry_run, actor=actor))

    def get(self, name: str, /, *, result: Result | None = None) -> BlockingSchedule[Any]:
        """Return a schedule by its name; nobody is asked."""
        return self._held(self._schedules.get(name, result=result))

    def list(self, *, project: str | None = None) -> Sequence[BlockingSchedule[Any]]:
        """Return all schedules; as `Schedules.list`."""
        return [self._held(one) for one in self._portal.call(partial(self._schedules.list, project=project))]

    def next(self, name: str, count: int = 1, /) -> Sequence[Firing]:
        """Return the next slots of a schedule; as `Schedules.next`."""
        return self._portal.call(self._schedules.next, name, count)

    def backfill(
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
        """Fire slots that lie behind; as `Schedules.backfill`."""
        filled = partial(self._schedules.backfill, name, start, end, overlap=overlap)
        return self._portal.call(partial(filled, dry_run=dry_run, actor=actor))

    def pause_batch(
        self, names: Iterable[str], *, note: str | None = None, actor: str | None = None
    ) -> Sequence[AikiError | None]:
        """Pause schedules; as `Schedules.pause_batch`."""
        return self._portal.call(partial(self._schedules.pause_batch, names, note=note, actor=actor))

    def resume_batch(self, names: Iterable[str], *, actor: str | None = None) -> Sequence[AikiError | None]:
        """Let schedules fire again; as `Schedules.resume_batch`."""
        return self._portal.call(partial(self._schedules.resume_batch, names, actor=actor))

    def delete_batch(self, names: Iterable[str], *, actor: str | None = None) -> Sequence[AikiError | None]:
        """Delete schedules; as `Schedules.delete_batch`."""
        return self._portal.call(partial(self._schedules.delete_batch, names, actor=actor))

    def _held(self, schedule: Schedule[R]) -> BlockingSchedule[R]:
        return BlockingSchedule(schedule, self._portal)
