"""Own the inbox of one run: numbered arrivals, unread until an entry takes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from typing import Literal, TypeAlias

from msgspec import Raw, Struct

from aiki.rules import arriving
from aiki.rules.arriving import Known
from aiki.rules.checking import answer_id
from aiki.rules.standing import Standing
from aiki.wire import weights
from aiki.wire.codec import encode
from aiki.wire.limits import CLAIMED_ARRIVALS, LIST_ITEMS, MESSAGE_BYTES
from aiki.wire.messages import NULL, Arrival, Entry, InboxReply, Outcome, SendOp, Sent, TimerAsk
from aiki.wire.packing import page as page_of

Kind: TypeAlias = Literal["event", "op", "child", "cancel", "wake"]
Taken: TypeAlias = tuple[int, int]
"""The generation and the number of the entry that took an arrival; 0 if its generation was left without that."""


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
            if one.kind in ("op", "child"):
                del self.unread[number]
                self.taken[number] = (generation, 0)

    def give_back(self, numbers: Collection[int]) -> int:
        """Have what was taken be unread again; return how many events that is."""
        for number in numbers:
            del self.taken[number]
            self.unread[number] = self.rows[number]
        self.unread = dict(sorted(self.unread.items()))
        return sum(self.rows[number].kind == "event" for number in numbers)

    def forget_ends(self, starts: Set[str]) -> None:
        """Have the ends of these children never have come."""
        for number in [number for number, one in self.rows.items() if one.kind == "child" and one.name in starts]:
            self._drop(number)

    def moved(self, stays: Set[int], *, goes_on: bool) -> RunInbox:
        """Return the inbox of a run that goes on in the place of this one's; all is unread that does not stay taken.

        The end of a child that does not stay is told anew. In a new generation only events are of any use.
        """
        new = RunInbox()
        new.news, new.last_at, new._ids, new._digests = self.news, self.last_at, self._ids, self._digests
        for number, one in [*self.rows.items()]:
            if one.kind == "event" or (goes_on and (one.kind == "op" or (one.kind == "child" and number in stays))):
                new.rows[number] = one
                if number in stays:
                    new.taken[number] = self.taken[number]
                else:
                    new.unread[number] = one
                self._drop(number)
            elif goes_on and one.kind == "child":
                self._drop(number)
        return new

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
