"""Own what a kind of durable call must be able to do. Each has a file in `aiki.execution.kinds`, whose table names it.

There are three ways to answer a body. What it waits for is a `DurableCall` (a task): held until all that was recorded
has been asked for, then let go by its kind, and settled by its outcome. That comes from a try in this worker, or it is
an arrival (an event). What is decided at once (a patch) is taken from the journal, or recorded. And timers are the
loop's own. Body, journal and replay know these ways and no kind by name. A cancel comes `Unasked`, and so does that the
starts of children were let go. Whoever waits for the end of one child is found by that (see `family`).
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from msgspec import Raw

from aiki.execution.cuts import Cut, mark
from aiki.inside.durable import Ask
from aiki.wire.messages import NULL, Entry

if TYPE_CHECKING:
    from aiki.definitions.task import TaskAsk
    from aiki.execution.arrivals import Arrivals
    from aiki.execution.called import Called
    from aiki.execution.loop import RunLoop
    from aiki.execution.timers import Timer
    from aiki.inside.kin import Kin, Start
    from aiki.wire.messages import Arrival, SendOp, StartOp, StopOp

A = TypeVar("A", bound=Ask[Any])
A_contra = TypeVar("A_contra", bound=Ask[Any], contravariant=True)
R_co = TypeVar("R_co", covariant=True)
_VALUE_CHARS: Final = 120


class DurableCall(Generic[A]):
    """One call that a body waits for: open until its outcome is delivered, or until nobody waits for it any more."""

    __slots__ = (
        *("answered_at", "ask", "asked", "asked_at", "called", "child", "form", "futures", "key", "kind"),
        *("outcome", "place"),
        *("since", "started_at", "timer"),
    )

    def __init__(
        self, kind: Waited[A], key: str, ask: A, form: bytes, asked_at: int, asked: int, called: Called
    ) -> None:
        self.kind = kind
        self.key = key
        self.ask = ask
        self.form = form
        """What it was asked with, in canonical form."""
        self.asked_at = asked_at
        """The run's time when it was asked for: the same on every replay."""
        self.since = asked_at
        """From when what bounds it counts: a retry moves that, as it does the run's time."""
        self.asked = asked
        """How many entries had been delivered by then."""
        self.started_at: int | None = asked_at
        """What is told people of when it began; of a task the try does whose outcome it has."""
        self.called = called
        """How much of what it was asked with people are told."""
        self.timer: Timer | None = None
        """What ends its wait, if it has a timeout of its own."""
        self.child: str | None = None
        """The one child whose end it waits for."""
        self.futures: list[Future[Any]] = []
        self.outcome: tuple[bool, bytes | Raw] | None = None
        """Kept for those who share the call and come later."""
        self.place = 0
        """The number of the delivery of its outcome, from 1."""
        self.answered_at = 0
        """The time of that."""

    def entry(self, ok: bool, value: bytes | Raw, at: int, turns: int | None, takes: tuple[int, ...] = ()) -> Entry:
        """Return its entry, with what people are told of the call."""
        told = self.kind.arguments(self, len(value))
        return Entry(self.key, ok, Raw(value), at, turns, self.asked, takes, self.started_at, told)

    def words(self) -> str:
        """Return what it was asked with, for a line of a diff; nothing of what is not to be told."""
        is_told = self.kind.arguments(self, 0) != NULL
        return f" with {shown(self.form)}" if is_told else ""

    def answer(self, ok: bool, value: bytes | Raw) -> None:
        """Hand the recorded outcome to everybody who waits, each with a copy of its own."""
        for future in self.futures:
            if not future.done():
                self.settle(future, ok, value)
        self.futures.clear()

    def settle(self, future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Hand the recorded outcome to one who waits."""
        self.kind.settle(self, future, ok, value)
        if not ok:
            mark(future, Cut(self.place, self.key, self.answered_at))


TaskCall: TypeAlias = "DurableCall[TaskAsk[Any]]"


class Parent(Protocol):
    """The children of the body, as their kinds see them. Implemented by `Family`, which tells what it does."""

    def ask(self, ask: Start, /) -> None:
        """Take in that a child is asked for. Raises UsageError or PayloadError if there cannot be such a child."""
        ...

    def hold(self, call: DurableCall[Start], /) -> Kin:
        """Hold a start, and return the child that it will be."""
        ...

    def found(self, call: DurableCall[Start], run_id: str, *, is_owned: bool) -> Kin:
        """Take in which run a start stands for."""
        ...

    def lists(self, value: Raw, /) -> bool:
        """Tell whether all starts that an entry lists are held."""
        ...

    def confirm(self, value: Raw, /) -> None:
        """Take in that an earlier claim has let go what this entry lists."""
        ...

    def take(self, child: Kin, key: str, /) -> bool:
        """Take in that the body is given the end of a child, by the entry with this key; tell whether that is here."""
        ...


class Asker(Protocol):
    """The body that asks, as its kinds see it."""

    @property
    def loop(self) -> RunLoop:
        """Its loop, which has its time and its timers."""
        ...

    def wait(self, kind: Waited[A], ask: A, arriving: Arriving[A] | None = None, /) -> Coroutine[Any, Any, Any]:
        """Make a call of it, and wait for its outcome: that of a try, or with `arriving` an arrival."""
        ...

    def hold(self, kind: Waited[A], ask: A, /) -> DurableCall[A]:
        """Make a call of it that nobody waits for."""
        ...

    def decide(self, key: str, value: Raw, /) -> Entry | None:
        """Return what is recorded under `key`, now or before; None if the run has been here without it."""
        ...

    def number(self, common: str, /) -> str:
        """Return the key of the next call whose keys have this in common."""
        ...

    def label(self, labels: Mapping[str, str], /) -> None:
        """Have these be the run's labels from now on, and no others."""
        ...

    @property
    def family(self) -> Parent:
        """Its children."""
        ...


class Admit(Protocol):
    """How tries of a task are let go."""

    def __call__(self, call: TaskCall, now: int, *, announce: bool) -> None:
        """Try the call's task as soon as what is recorded is durable; `announce` its start if that must be known."""
        ...


@dataclass(frozen=True, slots=True)
class Outside:
    """What can be done for a call outside of its body, by the execution."""

    admit: Admit
    cancel: Callable[[TaskCall], None]
    """Forget a call of a task that was admitted."""
    share: Callable[[TaskCall], None]
    """Ask for the key of a call that other runs may have, too, and try its task once that is won."""
    give_up: Callable[[TaskCall], None]
    """Forget such a call."""
    send: Callable[[SendOp | StartOp | StopOp], None]
    """Send an event, start a child or tell one to end in the next unit."""
    arrivals: Arrivals
    """What has reached the run and is unread."""


class Kind(Protocol[A_contra, R_co]):
    """A kind of durable call; `A_contra` is what is asked, `R_co` what the body gets for it."""

    @property
    def at_once(self) -> bool:
        """Whether it is answered without a wait. If not, nobody is answered while the run leaves memory."""
        ...

    @property
    def may_stay_unasked(self) -> bool:
        """Whether the code may do without an entry that is recorded; if not, it has diverged then."""
        ...

    def ask(self, body: Asker, ask: A_contra, /) -> R_co:
        """Answer the body."""
        ...

    def recorded(self, entry: Entry, /) -> str:
        """Return what a person is told of an entry that the code no longer asks for."""
        ...


class Cancellable(Protocol):
    """The body that is cancelled, as these kinds see it."""

    def begin(self, entry: Entry) -> None:
        """Take in that it is to end: it does not move before it is interrupted."""
        ...

    def interrupt(self) -> None:
        """Raise CancelledError where it waits."""
        ...


class Unasked(Protocol):
    """A kind whose entries nobody waits for: on replay each is delivered in its place."""

    def recorded(self, entry: Entry, /) -> str:
        """Return what a person is told of the entry."""
        ...

    def is_next(self, entry: Entry, family: Parent | None, /) -> bool:
        """Tell whether the body has come to where it can be delivered."""
        ...

    def deliver(self, entry: Entry, cancelling: Cancellable, family: Parent | None, /) -> None:
        """Do to the body what it says."""
        ...


class Waited(Kind[A, Any], Protocol[A]):
    """A kind whose outcome comes from outside of the body, later."""

    def key(self, ask: A, /) -> tuple[str, Callable[[A], Exception] | None, bytes]:
        """Return its key, whether all calls with this key are one, and what it is asked with, in canonical form.

        If they are one, that is what makes the error of a call whose form is not the first one's, or `joined` if they
        are only as long as one is open; if they are not, `keys.numbered` makes a key of each. Raises PayloadError if
        what it is asked with does not fit.
        """
        ...

    def keep(self, call: DurableCall[A], /) -> None:
        """Keep what it is asked with: it will be let go."""
        ...

    def start(self, call: DurableCall[A], outside: Outside, now: int, *, announce: bool) -> None:
        """Let the call go."""
        ...

    def abandon(self, call: DurableCall[A], outside: Outside) -> None:
        """Take back what `start` did: nobody waits any more."""
        ...

    def arguments(self, call: DurableCall[A], beside: int, /) -> Raw:
        """Return what is put on record of what the call was made with; its outcome has `beside` bytes."""
        ...

    def settle(self, call: DurableCall[A], future: Future[Any], ok: bool, value: bytes | Raw) -> None:
        """Resolve one caller's future with the outcome as it is recorded."""
        ...

    def asked(self, call: DurableCall[A], /) -> str:
        """Return what a person is told of a call that is not recorded."""
        ...


def joined(ask: Ask[Any]) -> Exception:
    """Stand for: all calls with this key are one while it is open."""
    raise AssertionError(f"{ask} is asked with its key alone")


class Taken(NamedTuple):
    """What becomes of a call by arrivals: its outcome, and which of them it consumes."""

    ok: bool
    value: bytes | Raw
    arrivals: list[Arrival]


class Arriving(Waited[A], Protocol[A]):
    """A kind whose outcome is an arrival, or several."""

    @property
    def through_cancel(self) -> bool:
        """Whether its outcomes are recorded also between a cancel and the interruption of the body."""
        ...

    def timeout(self, ask: A, /) -> int | None:
        """Return the microseconds after which its wait is over; None if it has no end of its own."""
        ...

    def waits(self, ask: A, /) -> list[str]:
        """Return what a parked run waits for on its behalf: an event as its name says, other arrivals by their kind."""
        ...

    def child(self, ask: A, /) -> str | None:
        """Return the child whose end alone answers it; None if what answers it is to be looked for by `arrived`."""
        ...

    def arrived(self, call: DurableCall[A], arrivals: Arrivals, /) -> list[Arrival] | None:
        """Return the unread arrivals that answer the call, oldest first; None if they are not all there."""
        ...

    def take(self, call: DurableCall[A], arrived: list[Arrival], room: int, /) -> Taken:
        """Return what becomes of the call by them; a message has `room` bytes for it."""
        ...

    def took(self, call: DurableCall[A], ok: bool, value: bytes | Raw, family: Parent | None, /) -> bool:
        """Take in that this is its outcome, now or by an earlier claim; tell whether all of it can be read."""
        ...

    def ends_wanted(self, call: DurableCall[A], arrivals: Arrivals, /) -> int | None:
        """Return how many more children must end before the call is answered, at least; None if it waits for none."""
        ...

    def holds_cancel(self, call: DurableCall[A], arrivals: Arrivals, /) -> bool:
        """Tell whether a cancel is to interrupt the body only when more has come for the call."""
        ...


def shown(value: bytes | Raw) -> str:
    """Return the beginning of a value, for a line of a diff."""
    text = bytes(value).decode(errors="replace")
    return text if len(text) <= _VALUE_CHARS else text[:_VALUE_CHARS] + "…"
