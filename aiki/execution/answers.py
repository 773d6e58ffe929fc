"""Own what has arrived answers first: which open call, or which sleep. It takes nothing, and changes nothing.

Calls are looked at in the order in which they were asked for, so that of several the first is served first; those that
wait for one child each are found by its end, in `family`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from aiki.execution.arrivals import Arrivals
    from aiki.execution.calls import CallTable
    from aiki.execution.cancelling import Cancelling
    from aiki.execution.kind import Arriving, DurableCall
    from aiki.execution.timers import Timer, Timers
    from aiki.wire.messages import Arrival


class Woken(NamedTuple):
    """A sleep that a wake ends."""

    arrival: Arrival
    timer: Timer


class Answer(NamedTuple):
    """A call that can be answered by arrivals."""

    at: int
    call: DurableCall[Any]
    kind: Arriving[Any]
    arrived: list[Arrival]


def first_answer(calls: CallTable, arrivals: Arrivals, cancelling: Cancelling) -> Answer | None:
    """Return the call that is answered by what came first; of several the one that was asked first.

    While a cancel is under way few are answered, and each once.
    """
    family = calls.family
    if not (arrivals.count or family is not None):
        return None
    first: Answer | None = None
    is_under_way = cancelling.is_under_way
    for call, kind in calls.waiting.values():
        if not is_under_way or (kind.through_cancel and not cancelling.keeps(call)):
            arrived = kind.arrived(call, arrivals)
            first = first if arrived is None else _earlier(first, call, kind, arrived)
    ended = None if family is None else family.first_ended()
    return first if ended is None else _earlier(first, *ended)


def _earlier(first: Answer | None, call: DurableCall[Any], kind: Arriving[Any], arrived: list[Arrival]) -> Answer:
    """Return what came before the other; what the body has been given already comes before all."""
    at = arrived[-1].at if arrived else 0
    return Answer(at, call, kind, arrived) if first is None or at < first.at else first


def first_woken(arrivals: Arrivals, timers: Timers) -> Woken | None:
    """Return the first wake that ends a sleep: one that went on when it came."""
    for arrival in arrivals.wakes:
        timer = timers.sleep_at(arrival.at)
        if timer is not None:
            return Woken(arrival, timer)
    return None


def last_late_wake(arrivals: Arrivals, timers: Timers, at: int) -> Arrival | None:
    """Return the last of the wakes before this time that came when nothing slept; None if there is none."""
    last = None
    for arrival in arrivals.wakes:
        if arrival.at >= at or timers.slept_at(arrival.at):
            break
        last = arrival
    return last


def holds_cancel(calls: CallTable, arrivals: Arrivals, cancelling: Cancelling) -> bool:
    """Tell whether a child that is waited for has been told to end, and has not yet."""
    return any(kind.holds_cancel(call, arrivals) for call, kind in calls.awaiting() if not cancelling.keeps(call))
