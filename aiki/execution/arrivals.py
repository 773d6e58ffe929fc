"""Own what has reached a run and is unread, and how far its inbox was read; not what becomes of it.

Arrivals are numbered. Up to `seen` all have really been read; that there are more, up to `heard`, has been said. A park
and an asked timer carry `seen`: they hold only if nothing came after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from msgspec import Raw

    from aiki.wire.messages import Arrival, Claimed, InboxReply

_NUMBER: Final = attrgetter("number")


class _ChildEnds:
    """Ends of children, by the ids of their starts."""

    __slots__ = ("fresh", "taken", "unread")

    def __init__(self) -> None:
        self.unread: dict[str, Arrival] = {}
        self.fresh: list[Arrival] = []
        """Those of them that nobody has looked at."""
        self.taken: dict[str, Raw] = {}
        """What those carry that entries have taken, and that the body has not been given yet."""

    def come(self, arrival: Arrival) -> None:
        """Take in the end of a child."""
        self.unread[arrival.name] = arrival
        self.fresh.append(arrival)


_NO_ENDS: Final = _ChildEnds()
"""Those of most runs, which have no children."""


class Arrivals:
    """The unread arrivals of one run, oldest first for each name."""

    __slots__ = (
        *("_asked_for", "_ends", "_events", "_heard", "_ops"),
        *("cancel", "count", "is_partial", "room", "seen", "wakes", "words"),
    )

    def __init__(self, claimed: Claimed, room: Callable[[], int]) -> None:
        """`room` says how many bytes a message has."""
        self.room = room
        self._events: dict[str, deque[Arrival]] = {}
        self._ops: dict[str, Arrival] = {}
        self._ends = _NO_ENDS
        self.wakes: deque[Arrival] = deque()
        """What ends a sleep, each the one that goes on when it comes."""
        self.words: dict[str, list[int]] = {}
        """Of each call the numbers of what says that it may ask for its key again."""
        self.count = 0
        """How many of them a call can take."""
        self.seen = 0
        self.cancel: Arrival | None = None
        """The first that cancels the run, until it is consumed."""
        self._heard = claimed.news
        self._asked_for: int | None = None
        self._add(claimed.arrivals)
        self.is_partial = claimed.unread > len(claimed.arrivals)
        """Of what had come before the claim not all is here: there may be a cancel among it."""
        if self.is_partial:
            self._heard = max(self._heard, self.seen + 1)
        else:
            self.seen = max(self.seen, claimed.news)

    @property
    def behind(self) -> bool:
        """Whether there are arrivals that were not read yet."""
        return self._heard > self.seen

    def hear(self, number: int) -> None:
        """Take in that there are arrivals up to this number."""
        self._heard = max(self._heard, number)

    def follow(self, came: Iterable[Arrival]) -> bool:
        """Take in, of what was told in order, all that follows what was read without a gap; tell whether any does.

        Only events are told so: a cancel, or the outcome of an op, is believed to nobody but the daemon's reply.
        """
        before = self.seen
        for arrival in came:
            if arrival.number == self.seen + 1 and arrival.kind == "event":
                self._add([arrival])
        return self.seen > before

    def next_read(self) -> int | None:
        """Return the number after which to read on, once for each reply; None if a read is under way."""
        if self._asked_for is not None:
            return None
        self._asked_for = self._heard
        return self.seen

    def read(self, reply: InboxReply) -> None:
        """Take in what was read. Whatever number was heard of before it was asked for leads to no other read."""
        asked_for, self._asked_for = self._asked_for, None
        self._add(arrival for arrival in reply.arrivals if arrival.number > self.seen)
        if reply.more:
            self._heard = max(self._heard, self.seen + 1)
        else:
            self.is_partial = False
            self.seen = max(self.seen, reply.news)
            if self._heard == asked_for:
                # It may be a number that nobody has reached: whoever sees a worker's inbox can write there.
                self._heard = self.seen

    def events(self, names: Sequence[str], count: int) -> list[Arrival]:
        """Return the `count` oldest events of these names; none if there are not so many."""
        queues = [queue for name in names if (queue := self._events.get(name))]
        if sum(map(len, queues)) < count:
            return []
        return list(islice(queues[0] if len(queues) == 1 else merge(*queues, key=_NUMBER), count))

    def outcome(self, op: str) -> Arrival | None:
        """Return the outcome of the op with this id."""
        return self._ops.get(op)

    def end_of(self, child: str) -> Arrival | None:
        """Return the end of this child, if it is here and unread."""
        return self._ends.unread.get(child)

    def take_fresh_ends(self) -> list[Arrival]:
        """Return the ends of children that have come since this was last asked."""
        fresh = self._ends.fresh
        if fresh:
            self._ends.fresh = []
        return fresh

    def take_end(self, child: str) -> Raw | None:
        """Take out what the end of a child carries that an entry has taken, now or before; None if it is not here."""
        return self._ends.taken.pop(child, None)

    def know_ends(self, taken: Mapping[str, Raw]) -> None:
        """Take in what ends of children carry that entries on record have taken."""
        if taken:
            self._own_ends().taken.update(taken)

    def last_word(self, call: str) -> int:
        """Return the number of the last word that a call may ask for its key again; 0 if there is none."""
        words = self.words.get(call)
        return words[-1] if words else 0

    def take_words(self, call: str) -> tuple[int, ...]:
        """Take out all such words of a call, which needs none any more, and return their numbers."""
        return tuple(self.words.pop(call, ()))

    def take_wakes(self, last: Arrival) -> tuple[int, ...]:
        """Take out the wakes up to `last`, and return their numbers: those before it came when nobody slept."""
        numbers = []
        while self.wakes and self.wakes[0].number <= last.number:
            numbers.append(self.wakes.popleft().number)
        return tuple(numbers)

    def consume(self, taken: Iterable[Arrival]) -> None:
        """Take out what a call has taken, which is the oldest of each name."""
        for arrival in taken:
            self.count -= 1
            if arrival.kind == "op":
                del self._ops[arrival.name]
                continue
            if arrival.kind == "child":
                del self._ends.unread[arrival.name]
                self._ends.taken[arrival.name] = arrival.value
                continue
            queue = self._events[arrival.name]
            first = queue.popleft()
            assert first is arrival, f"arrival {arrival.number} is taken before {first.number}"
            if not queue:
                del self._events[arrival.name]

    def _own_ends(self) -> _ChildEnds:
        if self._ends is _NO_ENDS:
            self._ends = _ChildEnds()
        return self._ends

    def _add(self, arrivals: Iterable[Arrival]) -> None:
        for arrival in arrivals:
            self.seen = arrival.number
            if arrival.kind == "event":
                self._events.setdefault(arrival.name, deque()).append(arrival)
            elif arrival.kind == "op":
                self._ops[arrival.name] = arrival
            elif arrival.kind == "child":
                self._own_ends().come(arrival)
            elif arrival.kind == "wake":
                self.wakes.append(arrival)
                continue
            elif arrival.kind == "key":
                self.words.setdefault(arrival.name, []).append(arrival.number)
                continue
            else:
                self.cancel = self.cancel or arrival
                continue
            self.count += 1
