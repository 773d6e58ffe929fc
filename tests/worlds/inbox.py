"""Own the inbox of one run in memory, as the daemon keeps it: numbered arrivals, unread until an entry takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

import msgspec

from aiki.rules import arriving
from aiki.rules.standing import Standing
from aiki.wire.limits import CLAIMED_ARRIVALS
from aiki.wire.messages import NULL, Arrival, Entry, InboxReply, Outcome, SendOp, Sent, Started, TimerAsk


class WorldInbox:
    """What has reached a run. `clock` is the database's."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.arrivals: list[Arrival] = []
        self.news = 0
        """The number that was given last: to an arrival, or to the word that something is wanted."""
        self.taken: dict[int, str] = {}
        """Numbers of what was consumed, and the key of the entry that did."""
        self.last_at: int | None = None
        self._ids: set[str] = set()
        self._digests: dict[tuple[str, str], str | None] = {}

    @property
    def unread(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.number not in self.taken]

    def send(self, standing: Standing, event: Sent | SendOp) -> Outcome:
        """Take in an event, or say why not; the run is not told here."""
        outcome = arriving.send(standing, arriving.Known(self._ids, self._digests), event)
        if outcome == arriving.TAKEN:
            self._ids.add(event.id)
            if event.key is not None:
                self._digests[event.name, event.key] = event.digest
            self.add("event", event.name, event.value, event.id)
        return outcome

    def has_outcome(self, op: str) -> bool:
        """Tell whether it is known what became of an op of the run's own."""
        return any(arrival.kind == "op" and arrival.name == op for arrival in self.arrivals)

    def add_outcome(self, op: str, outcome: Outcome | Started) -> None:
        """Take in what became of an op of the run's own."""
        self.add("op", op, msgspec.Raw(msgspec.json.encode(outcome)))

    def ends(self, after: int, length: int) -> InboxReply:
        """Return a page of the ends of children that entries have taken."""
        rows = [one for one in self.arrivals if one.kind == "child" and one.number in self.taken and one.number > after]
        return InboxReply(rows[:length], rows[:length][-1].number if rows else after, more=len(rows) > length)

    def add(self, kind: str, name: str = "", value: msgspec.Raw = NULL, id: str = "") -> Arrival:
        self.last_at = arriving.comes_at(self.clock(), self.last_at)
        arrival = msgspec.convert([self.next_number(), self.last_at, kind, name, value, id], Arrival)
        self.arrivals.append(arrival)
        return arrival

    def next_number(self) -> int:
        self.news += 1
        return self.news

    def begin_as(self, other: WorldInbox) -> None:
        """Hold what `other` does: taken there is taken here."""
        self.arrivals, self.taken, self.news = list(other.arrivals), dict(other.taken), other.news

    def consume(self, entries: Iterable[Entry]) -> int:
        """Mark what entries take as read, each once and first in, first out; return how many events that were."""
        events = 0
        for entry in entries:
            for number in entry.takes:
                row = next(arrival for arrival in self.arrivals if arrival.number == number)
                assert number not in self.taken, f"{entry.key} takes {number} again, after {self.taken[number]}"
                older = [one for one in self.unread if (one.kind, one.name) == (row.kind, row.name)]
                assert older[0] is row, f"{entry.key} takes {number} before {older[0].number}"
                self.taken[number] = entry.key
                events += row.kind == "event"
        return events

    def go_on_as(self, other: WorldInbox, stays: Set[int], *, anew: bool) -> None:
        """Hold what reached the run that this one's goes on in the place of; all is unread that does not stay taken."""
        self.news, self.last_at, self._ids, self._digests = other.news, other.last_at, other._ids, other._digests
        kinds = {"event"} if anew else {"event", "op"}
        for row in other.arrivals:
            if row.kind in kinds or (row.kind == "child" and row.number in stays):
                self.arrivals.append(row)
        self.taken = {one.number: other.taken[one.number] for one in self.arrivals if one.number in stays}

    def give_back(self, stays: Set[int]) -> int:
        """Have all be unread that does not stay taken, and forget ends of children; return how many events it was."""
        back = [one for one in self.arrivals if one.number not in stays and one.kind in ("event", "op", "child")]
        events = sum(one.kind == "event" and one.number in self.taken for one in back)
        for one in back:
            self.taken.pop(one.number, None)
            if one.kind == "child":
                self.arrivals.remove(one)
        return events

    def leave_generation(self) -> None:
        """Let nobody hear any more of what the last generation has asked for."""
        self.taken |= {arrival.number: "" for arrival in self.unread if arrival.kind in ("op", "child")}

    def fires(self, timer: TimerAsk) -> arriving.Fired:
        """Say whether an asked timer fires; then nothing comes before it any more."""
        unseen = [arrival for arrival in self.arrivals if arrival.number > timer.seen]
        fired = arriving.fires(
            due=timer.due,
            seen=timer.seen,
            news=self.news,
            first_unseen_at=unseen[0].at if unseen else None,
            clock=self.clock(),
        )
        if fired == "done":
            self.last_at = max(self.last_at or 0, timer.due)
        return fired

    def page(self, after: int, length: int) -> InboxReply:
        """Return a page of what is unread beyond a number."""
        rows = [arrival for arrival in self.unread if arrival.number > after]
        if len(rows) <= length:
            return InboxReply(rows, self.news)
        return InboxReply(rows[:length], rows[length - 1].number, more=True)

    def first_page(self, length: int) -> tuple[list[Arrival], int, int]:
        """Return what comes along with a claim: arrivals, up to which number they were read, and how many there are."""
        page = self.page(0, min(length, CLAIMED_ARRIVALS))
        return page.arrivals, page.news, len(self.unread)
