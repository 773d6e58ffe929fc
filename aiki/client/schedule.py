"""Own the hold on one schedule that its maker gets: its name, the type of its runs' results, and what can be done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from aiki.client import schedule_orders
from aiki.client.schedule_info import ScheduleInfo
from aiki.client.wire import Wire
from aiki.definitions.handle import Door, Handle
from aiki.wire.messages.schedules import Overlap

if TYPE_CHECKING:
    from aiki.payload import Result

R_co = TypeVar("R_co", covariant=True)


class Schedule(Generic[R_co]):
    """A schedule by its name. Making one costs nothing and asks nobody; all methods raise NotFound if there is none."""

    def __init__(
        self, name: str, wire: Wire, door: Door, *, result: Result | None = None, seen: ScheduleInfo | None = None
    ) -> None:
        self.name = name
        self.seen = seen
        """The schedule as it was when this was made by `create`, `update` or `list`."""
        self._wire = wire
        self._door = door
        self._result = result

    def __repr__(self) -> str:
        return f"Schedule({self.name!r})"

    @property
    def result_type(self) -> Result | None:
        """What reads the results of its runs, if their type is known."""
        return self._result

    async def info(self, *, slots: int = schedule_orders.SHOWN_SLOTS) -> ScheduleInfo:
        """Return the schedule as it is now, with what became of its latest slots."""
        return await schedule_orders.show(self._wire, self.name, slots)

    async def next(self, count: int = 1, /) -> list[datetime]:
        """Return its next slots, in UTC and at most 1,000, whether it is paused or not.

        With jitter the run of each is enqueued somewhat later.
        """
        return [firing.slot for firing in await schedule_orders.firings(self._wire, self.name, count)]

    async def trigger(self) -> Handle[R_co]:
        """Fire it now, whatever its overlap says and also if it is paused; its other slots stay as they are.

        Raises PayloadError if what it enqueues is refused.
        """
        return self._handle(await schedule_orders.trigger(self._wire, self.name))

    @overload
    async def backfill(
        self, start: datetime, end: datetime, /, *, overlap: Overlap = "allow", dry_run: Literal[False] = False
    ) -> Sequence[Handle[R_co]]: ...
    @overload
    async def backfill(
        self, start: datetime, end: datetime, /, *, overlap: Overlap = "allow", dry_run: Literal[True]
    ) -> Sequence[datetime]: ...
    async def backfill(
        self, start: datetime, end: datetime, /, *, overlap: Overlap = "allow", dry_run: bool = False
    ) -> Sequence[Handle[R_co]] | Sequence[datetime]:
        """Fire the slots from `start` up to `end` that lie behind and have no run, and return the runs that began.

        Each is fired once, however often this is asked: a repeat returns the same runs. With `dry_run` nothing is
        fired: these are the slots. Raises UsageError if they are more than 1,000. `client.schedules.backfill` tells of
        those that have not begun, too.
        """
        slots = await schedule_orders.backfill(self._wire, self.name, start, end, overlap=overlap, dry_run=dry_run)
        if dry_run:
            return [slot.slot for slot in slots]
        return [self._handle(slot.run_id) for slot in slots if slot.run_id is not None]

    async def pause(self, *, note: str | None = None) -> None:
        """Fire nothing more until it is resumed; `note` says why, in at most 1,000 characters. Its runs go on."""
        await self._order("pause", note)

    async def resume(self) -> None:
        """Fire again from now on: the slots that lie behind count as missed, and a backfill may fire them."""
        await self._order("resume")

    async def delete(self) -> None:
        """Delete it, with what is known of its slots; its runs stay."""
        await self._order("delete")

    async def _order(self, order: Literal["pause", "resume", "delete"], note: str | None = None) -> None:
        (error,) = await schedule_orders.order(self._wire, [self.name], order, note=note)
        if error is not None:
            raise error

    def _handle(self, run_id: str) -> Handle[Any]:
        return Handle(run_id, self._door, result=self._result)
