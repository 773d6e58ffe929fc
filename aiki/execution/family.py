"""Own the children of one body: the starts that are held, who waits for whose end, and which ends are here.

A start without a key is answered at once, and held until the body rests; what is let go together leaves one entry, or
several where one would be too large. Waits for one child are found by its end, and not the other way round: else F
of them would be looked through at each of F ends.
"""

from __future__ import annotations

from asyncio import Task
from collections.abc import Awaitable, Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Raw

from aiki.core.errors import UsageError
from aiki.core.ids import derived_id
from aiki.inside.kin import Kin
from aiki.wire.codec import decoder, encode
from aiki.wire.limits import FAMILY_DEPTH
from aiki.wire.messages import ChildEnd, SendOp, StartOp, StopOp
from aiki.wire.packing import check_payload, parts, payload_bytes

if TYPE_CHECKING:
    from aiki.execution.arrivals import Arrivals
    from aiki.execution.kind import Arriving, DurableCall
    from aiki.execution.loop import RunLoop
    from aiki.inside.kin import Start
    from aiki.wire.messages import Arrival

_LISTED_BYTES: Final = 128
"""Of a key and an id in an entry, beside the text of the key: never less than they take."""


class Ended(NamedTuple):
    """A call that waits for a child whose end is here, or has been given to the body by a wait for several."""

    call: DurableCall[Any]
    kind: Arriving[Any]
    arrived: list[Arrival]


class Family:
    """The children of one body."""

    __slots__ = (
        *("_arrivals", "_asked_at", "_awaited", "_behind", "_closing", "_depth", "_loop", "_ripe", "_unborn"),
        *("held", "sent"),
    )

    def __init__(self, arrivals: Arrivals, loop: RunLoop, depth: int) -> None:
        """`depth` is how many ancestors the body's run has."""
        self._arrivals = arrivals
        self._loop = loop
        self._depth = depth
        self.held: dict[str, DurableCall[Start]] = {}
        """Starts that nobody has let go yet, by their keys, in the order asked."""
        self._unborn: set[str] = set()
        """Their ids."""
        self.sent: list[StartOp | SendOp | StopOp] = []
        """Those that are let go and not in the outbox yet."""
        self._behind: dict[str, list[SendOp | StopOp]] = {}
        """What goes behind a start that is held, by its id."""
        self._asked_at: dict[tuple[str, str], int] = {}
        """When starts with keys were asked for first."""
        self._closing: dict[str, Kin] = {}
        """Children that are waited for before the body ends, and have not ended as far as it knows."""
        self._awaited: dict[str, tuple[DurableCall[Any], Arriving[Any]]] = {}
        self._ripe: list[tuple[int, str]] = []
        """Numbers of ends that are here, with whose they are: of such as were waited for once, at least."""

    # -- starts

    def ask(self, ask: Start) -> None:
        """Take in that a child is asked for: one with a key may be asked for again when the wait for it was given up.

        Raises UsageError if it would be too deep, PayloadError if its input is too large for the server here.
        """
        self._check(ask)
        ask.asked_at = self._loop.now_us
        if ask.options.key is not None:  # else another id would stand for the same start
            ask.asked_at = self._asked_at.setdefault((ask.workflow, ask.options.key), ask.asked_at)

    def _check(self, ask: Start) -> None:
        if self._depth >= FAMILY_DEPTH:
            raise UsageError(
                f"a child of workflow {ask.workflow!r} would have more than {FAMILY_DEPTH} ancestors: probably a"
                " workflow starts itself without an end",
                hint="go on in a loop, or start the children of children from one parent",
            )
        check_payload(len(ask.input), f"the input of workflow {ask.workflow!r}", room=self._arrivals.room())

    def hold(self, call: DurableCall[Start]) -> Kin:
        """Hold a start, and return the child that it will be."""
        self.held[call.key] = call
        self._unborn.add(id_of(call))
        return self.found(call, id_of(call), is_owned=True)

    def found(self, call: DurableCall[Start], run_id: str, *, is_owned: bool) -> Kin:
        """Take in which run a start stands for."""
        ask = call.ask
        is_told = is_owned and ask.close != "abandon"
        child = ask.child = Kin(call.key, id_of(call), run_id, ask.workflow, is_owned, is_told)
        if is_owned and ask.close == "wait":
            self._closing[child.id] = child
        return child

    def lists(self, value: Raw) -> bool:
        """Tell whether all starts that an entry lists are held."""
        return all(key in self.held for key, _, _ in read_starts(value))

    def confirm(self, value: Raw) -> None:
        """Take in that an earlier claim has let go what this entry lists."""
        for key, id, _ in read_starts(value):
            del self.held[key]
            self._unborn.discard(id)

    def let_go(self, most: int | None) -> Iterator[tuple[list[DurableCall[Start]], Raw]]:
        """Let what is held go, the first `most` of it; yield those that are in each entry, and its value."""
        going = list(islice(self.held, most))
        for keys in parts(going, _weight, payload_bytes(self._arrivals.room())):
            calls = [self.held.pop(key) for key in keys]
            for call in calls:
                made = call.ask.id
                self._unborn.discard(made)
                self.sent.append(op_of(call))
                self.sent += self._behind.pop(made, ())
            yield calls, Raw(encode([(call.key, call.ask.id, call.asked) for call in calls]))

    def holds(self, op: SendOp | StopOp) -> bool:
        """Tell whether this is for a child whose start is held: then it goes right behind that."""
        is_held = op.run_id in self._unborn
        if is_held:
            self._behind.setdefault(op.run_id, []).append(op)
        return is_held

    def take_sent(self) -> list[StartOp | SendOp | StopOp]:
        """Return what was let go since this was last asked."""
        sent, self.sent = self.sent, []
        return sent

    # -- ends

    @property
    def is_awaited(self) -> bool:
        """Whether an open call waits for the end of one child."""
        return bool(self._awaited)

    def kind_of(self, child: str) -> Arriving[Any]:
        """Return the kind of the call that waits for the end of this child."""
        return self._awaited[child][1]

    def awaited(self) -> Iterator[tuple[DurableCall[Any], Arriving[Any]]]:
        """Return the open calls that wait for the end of one child each."""
        return iter(self._awaited.values())

    def wait(self, child: str, call: DurableCall[Any], kind: Arriving[Any]) -> None:
        """Have the call answered by the end of this child."""
        self._awaited[child] = call, kind
        arrival = self._arrivals.end_of(child)
        if arrival is not None:
            heappush(self._ripe, (arrival.number, child))

    def wait_no_more(self, child: str) -> None:
        """Take back that a call waits for the end of this child."""
        del self._awaited[child]

    def first_ended(self) -> Ended | None:
        """Return the call whose child's end came first."""
        for arrival in self._arrivals.take_fresh_ends():
            if arrival.name in self._awaited:
                heappush(self._ripe, (arrival.number, arrival.name))
        while self._ripe:
            number, child = self._ripe[0]
            if child in self._awaited:
                call, kind = self._awaited[child]
                arrived = kind.arrived(call, self._arrivals)
                if arrived is not None and number == (arrived[0].number if arrived else 0):
                    return Ended(call, kind, arrived)
            heappop(self._ripe)
        return None

    def take_closing(self) -> list[Kin]:
        """Return the children that are to end before the body does, once."""
        closing, self._closing = self._closing, {}
        return list(closing.values())

    def take(self, child: Kin, key: str) -> bool:
        """Take in that the body is given the end of a child, by the entry with this key; tell whether that is here."""
        if child.end is None:
            value = self._arrivals.take_end(child.id)
            if value is None:
                return False
            child.end, child.told = decoder(ChildEnd).decode(value), (self._loop.delivered, key, self._loop.now_us)
            self._closing.pop(child.id, None)
            if child.id in self._awaited:
                heappush(self._ripe, (0, child.id))  # by a wait for several: whoever waits for it alone is next
        return True


async def stay(main: Task[Any], ends: Awaitable[None]) -> Any:
    """Wait for these ends of children, and return what the body's main task has come to, or raise it."""
    await ends
    try:
        return main.result()
    finally:
        del main  # else its error would lead back to itself by its traceback


def id_of(call: DurableCall[Start]) -> str:
    """Return the id of a start: the same whenever the call is replayed."""
    ask = call.ask
    if not ask.id:
        ask.id = derived_id(*ask.sender, call.key, milliseconds=ask.asked_at // 1_000)
    return ask.id


def op_of(call: DurableCall[Start]) -> StartOp:
    """Return what starts the child."""
    ask = call.ask
    digest = None if ask.options.key is None else ask.digest
    return StartOp(id_of(call), ask.workflow, ask.version, Raw(ask.input), ask.options, digest, ask.close)


def _weight(key: str) -> int:
    return _LISTED_BYTES + len(key)


def read_starts(value: bytes | Raw) -> list[tuple[str, str, int]]:
    """Return the starts that an entry lists: their keys, the ids that they have, and when they were asked."""
    listed: list[tuple[str, str, int]] = decoder(list[tuple[str, str, int]]).decode(value)
    return listed
