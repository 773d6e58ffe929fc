"""Own the leaves for runs that nobody asked for: how many each daemon may hand over, and what comes of it.

A worker that knows of no queued run lets daemons have up to half of its free slots, so that a new run is here with the
commit that stores it. It says so to all of them at once, each second and when half is used up; each has a *line* of its
own, on which hand-overs are numbered, and is told up to which number they may count. So nothing is promised twice,
whatever crosses on the way.

Invariant: what is promised has its slots reserved. A number that was allowed can only be taken back by the daemon's own
answer to a later Park, or when the leave's time is over. What comes late, or without a slot all the same, goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

import msgspec

from aiki.core.failpoints import failpoint
from aiki.wire import codec
from aiki.wire.limits import DAEMONS, HANDED_RUNS, LEAVE_SECONDS, PARKED_ROUTES
from aiki.wire.messages import Claimed, HandOver, Park, Parked, Push

if TYPE_CHECKING:
    from aiki.execution import Lease
    from aiki.transport import Transport
    from aiki.worker.clock import DatabaseClock
    from aiki.worker.session import Session
    from aiki.worker.slots import Reservation, Slots

PARK_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.01
"""Between two Parks at least."""
GRACE_SECONDS: Final = 0.5
"""After the end of a leave: for what was committed in its last moment."""
SILENT_SECONDS: Final = 3.0
"""A daemon that has answered no Park for so long is forgotten."""
BEGIN_SECONDS: Final = 10.0
"""A run that comes later after its birth is given back: daemons repeat for less long."""
CLOSE_SECONDS: Final = 0.25

OnHanded = Callable[[list[Claimed], "Lease", "Reservation", "str | None"], None]


class _Line:
    """What one daemon may hand over to this session."""

    __slots__ = ("ahead", "asked", "heard_at", "lapses_at", "low", "reservation", "upto")

    def __init__(self, reservation: Reservation, low: int) -> None:
        self.low = low
        """Up to this number all have come, or never will."""
        self.ahead: set[int] = set()
        """Those that have come beyond it."""
        self.upto = low
        """Up to this number some may come."""
        self.asked = low
        """What the last Park allowed."""
        self.reservation = reservation
        self.heard_at = 0.0
        self.lapses_at = 0.0

    @property
    def promised(self) -> int:
        """How many may still come."""
        return self.upto - self.low - len(self.ahead)

    def come(self, first: int, count: int) -> bool:
        """Take note of hand-overs that have come; tell whether all of them were promised."""
        if first <= self.low or first + count - 1 > self.upto:
            return False
        self.ahead.update(range(first, first + count))
        self._settle()
        return True

    def settled(self, number: int) -> None:
        """Take note that nothing up to this number comes any more."""
        if number > self.low:
            self.low = min(number, self.upto)
            self.ahead = {one for one in self.ahead if one > self.low}
            self._settle()

    def _settle(self) -> None:
        while self.low + 1 in self.ahead:
            self.low += 1
            self.ahead.discard(self.low)


class Parking:
    """The leaves of one worker. `on_change` is called when to `look` again; `on_handed` gets what came.

    That is: runs of one claim, the lease under which they were claimed, their slots, and why they go back if they do.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        slots: Slots,
        *,
        clock: DatabaseClock,
        on_handed: OnHanded,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.lacking = 0
        """How many slots are wanted that are not reserved: pulls shall leave them."""
        self._transport = transport
        self._session = session
        self._slots = slots
        self._clock = clock
        self._on_handed = on_handed
        self._lease = session.lease
        self._lines: dict[str, _Line] = {}
        self._serial = 0
        self._wanted = 0
        self._park_at = 0.0
        self._pause_until = 0.0
        self._is_withdrawn = False
        self._stopped = False
        self._emptied = asyncio.Event()
        self._inbox = transport.handoffs(self._on_push)
        transport.on_return.append(self._on_return)

    # -- decide

    def look(self, routes: Collection[tuple[str, str]], *, more: bool, pulled: int) -> None:
        """Park if it is time to. `more` says that runs of these routes are queued; `pulled` slots are spoken for."""
        now = time.monotonic()
        if self._session.lease is not self._lease:
            self._start_anew()
        self._lapse(now)
        held = sum(line.promised for line in self._lines.values())
        is_short = self._slots.is_short
        closed = more or is_short or self._stopped or not self._lease.is_certain()
        self._wanted = 0 if closed else self._most(held, len(routes))
        self.lacking = max(0, self._wanted - held)
        if self._wanted:
            is_used = bool(self._lines) and 2 * held <= self._wanted and self._slots.free > pulled
            if now >= self._park_at or (is_used and now >= self._pause_until):
                self._park(now, routes, held, pulled)
            elif is_used:
                self._park_at = self._pause_until
        elif held and not self._is_withdrawn and (is_short or self._stopped or not self._slots.free):
            # Others need the slots: daemons are asked to do without, and answer what may still come.
            self._park(now, routes, held, pulled)
            self._is_withdrawn = True

    def seconds_to_next(self) -> float:
        """Return when to look again, if nothing happens before."""
        now = time.monotonic()
        ends = [line.lapses_at for line in self._lines.values() if line.promised]
        if self._wanted:
            ends.append(self._park_at)
        return max(0.01, min(ends, default=now + PARK_SECONDS) - now)

    async def close(self) -> None:
        """Take all leaves back, and wait a moment for the daemons' word; what still comes then has no receiver."""
        self._stopped = True
        self._transport.on_return.remove(self._on_return)
        self.look((), more=False, pulled=0)
        if any(line.promised for line in self._lines.values()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._emptied.wait()
        await self._inbox.close()

    def _most(self, held: int, routes: int) -> int:
        """Return how many may be promised: half of the free slots, but pulls need one for each route."""
        free = self._slots.free + held
        return min(HANDED_RUNS, free // 2, free - routes if free >= routes else free)

    # -- parks

    def _park(self, now: float, routes: Collection[tuple[str, str]], held: int, pulled: int) -> None:
        self._serial += 1
        self._park_at, self._pause_until, self._is_withdrawn = now + PARK_SECONDS, now + PAUSE_SECONDS, False
        more = max(0, min(self._wanted - held, self._slots.free - pulled))
        total = min(self._wanted, held + more)
        alive = [(name, line) for name, line in self._lines.items() if now - line.heard_at < SILENT_SECONDS]
        random.shuffle(alive)
        leaves = {}
        for place, (name, line) in enumerate(alive):
            share = (total + place) // len(alive)  # the last ones get what is left over
            if (raised := min(share - line.promised, more)) > 0:
                more -= raised
                self._slots.extend(line.reservation, raised)
                line.upto += raised
            line.asked = min(line.upto, line.low + len(line.ahead) + share)
            line.lapses_at = now + LEAVE_SECONDS + GRACE_SECONDS
            leaves[name] = line.asked
        self._inbox.park(
            Park(
                session=self._lease.session,
                inbox=self._inbox.subject,
                serial=self._serial,
                until=self._clock.database() + int(LEAVE_SECONDS * 1e6),
                free=self._slots.free + held,
                routes=list(routes)[:PARKED_ROUTES],
                leaves=leaves,
            )
        )
        self.lacking = max(0, self._wanted - sum(line.promised for line in self._lines.values()))

    def _lapse(self, now: float) -> None:
        for name, line in list(self._lines.items()):
            if line.promised and now >= line.lapses_at:
                line.upto = line.low + len(line.ahead)
                self._keep(line)
            if not line.promised and now - line.heard_at >= SILENT_SECONDS:
                del self._lines[name]

    def _keep(self, line: _Line) -> None:
        """Reserve no more than is promised."""
        self._slots.release(line.reservation, keep=line.promised)
        if self._stopped and not any(one.promised for one in self._lines.values()):
            self._emptied.set()

    def _start_anew(self) -> None:
        """Forget all lines: they are those of a session that has ended."""
        self._lease = self._session.lease
        lines, self._lines = self._lines, {}
        self._park_at = 0.0
        for line in lines.values():
            self._slots.release(line.reservation)

    def _on_return(self) -> None:
        self._park_at = 0.0
        self.on_change()

    # -- pushes

    def _on_push(self, data: bytes, reply: str) -> None:
        try:
            push: Parked | HandOver = codec.decode(data, Push)  # type: ignore[arg-type]  # a union is no type
        except msgspec.MsgspecError:
            return  # whoever sees our inbox may write there
        if isinstance(push, Parked):
            self._on_answer(push)
        elif isinstance(push, HandOver):
            self._on_hand_over(push)
            self._inbox.took(reply)

    def _on_answer(self, answer: Parked) -> None:
        line = self._lines.get(answer.line)
        if line is None:
            if answer.serial != self._serial or len(self._lines) >= DAEMONS or self._stopped:
                return
            line = self._lines[answer.line] = _Line(self._slots.reserve(0), max(0, answer.settled))
            self._park_at = 0.0
            self.on_change()
        line.heard_at = time.monotonic()
        line.settled(answer.settled)
        if answer.serial == self._serial:
            line.upto = max(line.low, min(line.upto, max(line.asked, answer.upto)))
        self._keep(line)

    def _on_hand_over(self, push: HandOver) -> None:
        failpoint("worker.handed")
        runs, session = push.runs, self._session
        claims = {run.fence.claim_id for run in runs}
        if session.lease is not self._lease:
            self._start_anew()
        if len(claims) != 1 or push.session != self._lease.session:
            return  # not ours, or no longer
        line = self._lines.get(push.line)
        is_promised = False
        if line is not None:
            line.heard_at = time.monotonic()
            is_promised = line.come(push.first, len(runs))
        is_given_back = session.inventory.receive(claims.pop(), len(runs))
        if is_given_back is not None:
            # One from the future was born before the database's clock was set back: nobody knows when.
            age = abs(self._clock.database() - push.now)
            is_late = age > 1e6 * min(self._lease.reply_seconds, BEGIN_SECONDS)
            why = "its hand-over came late" if is_given_back or is_late else None
            reservation = line.reservation if line is not None and is_promised else self._slots.reserve(0)
            self._on_handed(runs, self._lease, reservation, why)
        if line is not None:
            self._keep(line)
        if self._wanted and 2 * sum(one.promised for one in self._lines.values()) <= self._wanted:
            self.on_change()
