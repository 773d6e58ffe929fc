"""Own the inbox of one run: numbered arrivals, unread until an entry takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Literal, TypeAlias

from msgspec import Raw, Struct

from aiki.rules import arriving, moving
from aiki.rules.arriving import Known
from aiki.rules.checking import answer_id
from aiki.rules.moving import Came, Lot
from aiki.rules.standing import Standing
from aiki.wire import weights
from aiki.wire.codec import encode
from aiki.wire.limits import CLAIMED_ARRIVALS, LIST_ITEMS, MESSAGE_BYTES
from aiki.wire.messages import NULL, Arrival, Entry, InboxReply, Outcome, SendOp, Sent, TimerAsk
from aiki.wire.packing import page as page_of

Kind: TypeAlias = Literal["event", "op", "child", "cancel", "wake", "key"]
Taken: TypeAlias = tuple[int, int]
"""The generation and the number of the entry that took an arrival; 0 if its generation was left without that."""

Stretches: TypeAlias = Sequence[tuple[int, int]]
"""Entries that stay in force, from the first to the last of each stretch."""


class RunInbox:
    """What has reached a run. What it was ever sent is known to all runs of its origin."""

    __slots__ = ("_digests", "_ids", "last_at", "news", "rows", "taken", "unread")

    def __init__(self) -> None:
        self.rows: dict[int, Arrival] = {}
        """All that has come, by number."""
        self.unread: dict[int, Arrival] = {}
        self.taken: dict[int, Taken] = {}
        self.news = 0
        """The number that was given last: to an arrival, or to the word that something is wanted."""
        self.last_at: int | None = None
        self._ids: set[str] = set()
        self._digests: dict[tuple[str, str], str | None] = {}

    # -- what comes

    def send(self, standing: Standing, event: Sent | SendOp, *, clock: int, takes: Set[str] | None = None) -> Outcome:
        """Take in an event, or say why not; the run is not told here."""
        outcome = arriving.send(standing, Known(self._ids, self._digests), event, takes=takes)
        if outcome == arriving.TAKEN:
            if event.key is not None:
                self._digests[event.name, event.key] = event.digest
            self.add("event", event.name, event.value, event.id, clock=clock)
        return outcome

    def answer(self, op_id: str, outcome: Struct, *, clock: int) -> None:
        """Take in what became of an op of the run's own."""
        self.add("op", op_id, Raw(encode(outcome)), answer_id(op_id), clock=clock)

    def is_answered(self, op_id: str) -> bool:
        """Tell whether it is known what became of an op."""
        return answer_id(op_id) in self._ids

    def knows(self, id: str) -> bool:
        """Tell whether something with this id has come before."""
        return id in self._ids

    def add(self, kind: Kind, name: str = "", value: Raw = NULL, id: str = "", *, clock: int) -> Arrival:
        """Take in an arrival; `clock` is now."""
        self.last_at = arriving.comes_at(clock, self.last_at)
        arrival = Arrival(self.next_number(), self.last_at, kind, name, value, id)
        self.rows[arrival.number] = self.unread[arrival.number] = arrival
        if id:
            self._ids.add(id)
        return arrival

    def next_number(self) -> int:
        """Give a number to something that is wanted, which no arrival says."""
        self.news += 1
        return self.news

    # -- what is taken

    def lacks(self, entries: Iterable[Entry]) -> bool:
        """Tell whether entries take what is not here to be taken."""
        return any(number not in self.unread for entry in entries for number in entry.takes)

    def consume(self, entries: Iterable[Entry], *, generation: int, base: int) -> int:
        """Mark what entries take; return how many events that is."""
        events = 0
        for seq, entry in enumerate(entries, base + 1):
            for number in entry.takes:
                events += self.unread.pop(number).kind == "event"
                self.taken[number] = (generation, seq)
        return events

    def leave(self, generation: int) -> None:
        """Let nobody hear any more of what the generation that is over has asked for."""
        for number, one in [*self.unread.items()]:
            if moving.onward(Came(one.kind)) is Lot.SETTLED:
                del self.unread[number]
                self.taken[number] = (generation, 0)

    def begin_anew(self, generation: int) -> int:
        """Have what is left of a generation be read by the next; return how many events are unread again."""
        lots = {number: moving.anew(self._came(number), generation=generation) for number in self.taken}
        return self._give_back(lots)

    def go_on(self, generation: int, kept: Stretches, awaited: Set[str]) -> int:
        """Have all be read again that none of the entries that stay has taken; return how many events that is.

        The ends of children whose starts are `awaited` have never come.
        """
        lots = {
            number: moving.again(self._came(number), generation=generation, kept=kept, is_awaited=one.name in awaited)
            for number, one in self.rows.items()
        }
        for number in [number for number, lot in lots.items() if lot is Lot.GONE]:
            self._drop(number)
        return self._give_back(lots)

    def succeed(self, generation: int, kept: Stretches, *, anew: bool) -> RunInbox:
        """Return the inbox of a run that goes on in the place of this one's."""
        new = RunInbox()
        new.news, new.last_at, new._ids, new._digests = self.news, self.last_at, self._ids, self._digests
        for number, one in [*self.rows.items()]:
            lot = moving.succeeded(self._came(number), generation=generation, kept=kept, anew=anew)
            if lot is Lot.STAYS:
                new.rows[number], new.taken[number] = one, self.taken[number]
            elif lot is Lot.UNREAD:
                new.rows[number] = new.unread[number] = one
            if lot is not Lot.LEFT:
                self._drop(number)
        return new

    def _came(self, number: int) -> Came:
        return Came(self.rows[number].kind, self.taken.get(number))

    def _give_back(self, lots: Mapping[int, Lot]) -> int:
        """Have what was taken be unread again, where it is to be; return how many events that is."""
        back = [number for number, lot in lots.items() if lot is Lot.UNREAD]
        for number in back:
            del self.taken[number]
            self.unread[number] = self.rows[number]
        self.unread = dict(sorted(self.unread.items()))
        return sum(self.rows[number].kind == "event" for number in back)

    def _drop(self, number: int) -> None:
        del self.rows[number]
        self.unread.pop(number, None)
        self.taken.pop(number, None)

    def fires(self, timer: TimerAsk, *, clock: int) -> arriving.Fired:
        """Say whether an asked timer fires; then nothing comes before it any more."""
        unseen = self.rows.get(timer.seen + 1)
        fired = arriving.fires(
            due=timer.due,
            seen=timer.seen,
            news=self.news,
            first_unseen_at=None if unseen is None else unseen.at,
            clock=clock,
        )
        if fired == "done":
            self.last_at = max(self.last_at or 0, timer.due)
        return fired

    # -- what is read

    def page(self, after: int, most: int = LIST_ITEMS) -> InboxReply:
        """Return what is unread beyond a number, as much as fits."""
        rows = [one for number, one in self.unread.items() if number > after]
        fit = page_of(rows[:most], weights.of_arrival, MESSAGE_BYTES)
        if len(fit) == len(rows):
            return InboxReply(rows, self.news)
        return InboxReply(fit, fit[-1].number, more=True)

    def ends(self, after: int, generation: int, most: int = LIST_ITEMS) -> InboxReply:
        """Return the ends of children beyond a number that entries of a generation have taken, as many as fit."""
        taken = (number for number, (in_which, _) in self.taken.items() if in_which == generation)
        rows = [self.rows[number] for number in sorted(taken) if number > after and self.rows[number].kind == "child"]
        fit = page_of(rows[:most], weights.of_arrival, MESSAGE_BYTES)
        if len(fit) == len(rows):
            return InboxReply(rows, self.news)
        return InboxReply(fit, fit[-1].number, more=True)

    def first_page(self) -> InboxReply:
        """Return what comes along with a claim."""
        return self.page(0, CLAIMED_ARRIVALS)
