"""Own one run's body: it is stepped on its private loop, asks for durable calls by one door, and ends once.

Which outcome reaches it next is for `deliveries`; how a call is made and answered, for its kind. While recorded entries
are unconsumed new calls are held: nothing is started before the code has shown that it asks for everything the journal
holds. If it does not, it has diverged, and no side effect has happened.

This module does no I/O and reads no clock. Whoever owns it calls `begin`, then `pump`, starts what `take_started`
returns and hands in outcomes by `resolve`; arrivals are handed in by their owner. What it has delivered goes to
`on_entry`, whose owner makes it durable; a timer that is to be asked of the daemon goes to `on_ask`, and its answer to
`answered`.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, Task, _get_running_loop, current_task
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from aiki.execution.audit import watch
from aiki.execution.calls import CallTable
from aiki.execution.cancelling import Cancelling, interrupt
from aiki.execution.deliveries import Deliveries, Diverged, Gone
from aiki.execution.divergence import explain
from aiki.execution.family import Family, stay
from aiki.execution.faults import Faults, mark_as_seen, of_context, tell_unmade, tell_unseen
from aiki.execution.frontier import Frontier
from aiki.execution.kinds import KINDS
from aiki.execution.loop import RunLoop
from aiki.execution.onward import Onward, check, hears, is_end
from aiki.execution.order import salt_of
from aiki.execution.outcome import Outcome
from aiki.execution.timers import LAST_DATE
from aiki.execution.unwinding import Unwinding, waiting_lines
from aiki.inside.durable import outside
from aiki.inside.kin import all_of
from aiki.inside.onward import JournalSize

if TYPE_CHECKING:
    from msgspec import Raw

    from aiki.execution.arrivals import Arrivals
    from aiki.execution.called import Called
    from aiki.execution.cancelling import Tries
    from aiki.execution.journal import Journal
    from aiki.execution.kind import A, Arriving, DurableCall, Waited
    from aiki.inside.durable import Ask, R
    from aiki.inside.onward import Next
    from aiki.rules.histories import History
    from aiki.wire.messages import Claimed, Entry, TimerAsk

WAKE: Final = "wake"
"""What a parked run calls the arrival that ends a sleep."""
STARTS_AT_ONCE: Final = 250
"""Children that are let go together: while the daemon inserts the next ones, the first are worked on."""
SLICE_SECONDS: Final = 0.01
"""How long one `pump` may keep the worker's loop, as long as the body itself does not block."""


class Body:
    """The body of one claimed run. Implements `aiki.inside.durable.Durable` and `aiki.execution.kind.Asker`."""

    __slots__ = (
        *("_arrivals", "_calls", "_cancelling", "_deliveries", "_main", "_on_labels", "_shown"),
        *("_unwinding", "claimed", "diff", "error", "faults", "history", "lacks", "loop", "onward", "outcome"),
        *("result",),
    )

    def __init__(
        self,
        *,
        journal: Journal,
        history: History,
        claimed: Claimed,
        arrivals: Arrivals,
        tries: Tries,
        called: Called,
        on_entry: Callable[[Entry], None],
        on_ask: Callable[[TimerAsk], None],
        on_labels: Callable[[Mapping[str, str]], None],
        on_fault: Callable[[str, str], None],
    ) -> None:
        """`journal` has what of the `history` counts."""
        watch()
        self.claimed, self.history = claimed, history
        salt = salt_of(claimed.origin_id)
        self.loop: RunLoop = RunLoop(claimed.started_at, salt=salt, on_problem=self._on_problem)  # type: ignore[abstract]  # refused methods are added by name
        self.outcome = Outcome.RUNNING
        self.result: Any = None
        self.error: BaseException | None = None
        self.onward: Next | None = None
        """How its run goes on, once the body has said so: that ends it."""
        self.diff = ""
        self.lacks = ""
        """What an entry has taken that cannot be read again, if that has ended it."""
        self.faults = Faults(on_fault)
        """What it did wrong without failing by it."""
        self._on_labels = on_labels
        self._main: Task[Any] | None = None
        self._shown: Raw | None = None
        self._calls = CallTable(self.loop, called)
        self._arrivals = arrivals
        self._cancelling = Cancelling(tries, self._interrupt)
        self._deliveries = Deliveries(
            journal,
            self._calls,
            self.loop,
            arrivals,
            self._cancelling,
            retries=history.retries,
            on_entry=on_entry,
            on_ask=on_ask,
        )
        self._unwinding = Unwinding(self.loop)

    # -- aiki.inside.durable.Durable: what the body asks for

    def ask(self, ask: Ask[R], /) -> R:
        """Have the kind answer what is asked."""
        if _get_running_loop() is not self.loop:
            raise outside(str(ask))
        kind = KINDS[ask.kind]
        answer: R = self._unwinding.refuse() if self._unwinding.begun and not kind.at_once else kind.ask(self, ask)
        return answer

    def now(self) -> int:
        """Return the time of the last delivery."""
        return self.loop.now_us

    def run_id(self) -> str:
        """Return the run that the body sees itself as: of what it asked for before a retry the id may be a part."""
        return self.history.run_at(self.loop.delivered, self.claimed.fence.run_id)

    def attempt(self) -> int:
        """Return the attempt in force for what is asked for now."""
        return self.history.attempt_at(self.loop.delivered, self.claimed.attempt)

    def replaying(self) -> bool:
        """Tell whether nothing has been delivered yet that is not in the journal."""
        return not self._deliveries.live

    def show(self, said: Raw, /) -> None:
        """Keep what the body says of itself: the last is shown, once it rests."""
        self.require_inside("run.set_details()")
        if not self._unwinding.begun:
            self._shown = said

    def go_on(self, next: Next, /) -> NoReturn:
        """End the body, from whichever of its branches, and have its run go on so in its next generation."""
        self.require_inside(next.called)
        if self._unwinding.begun:
            raise GeneratorExit
        check(next, self._calls.open.values(), is_interrupted=self._cancelling.is_interrupted)
        self.onward = next
        self._hear_of(current_task(self.loop))
        raise Onward  # no name of this function may lead to the task that ends by it: that would be a circle

    def journal_size(self) -> JournalSize:
        """Return how much has been delivered to the body."""
        return JournalSize(self.loop.delivered, self._deliveries.delivered_bytes)

    def require_inside(self, what: str) -> None:
        """Raise UsageError in another run's body, in a task, in a thread and after the run."""
        if _get_running_loop() is not self.loop:
            raise outside(what)

    # -- aiki.execution.kind.Asker: how its kinds answer

    async def wait(self, kind: Waited[A], ask: A, arriving: Arriving[A] | None = None, /) -> Any:
        """Wait for the outcome of a call, which is new, open, or answered if its key is shared."""
        loop, calls, journal = self.loop, self._calls, self._deliveries.journal
        if arriving is not None:
            calls.expect(arriving.waits(ask))
        call = calls.ask(kind, ask, loop.now_us, loop.delivered)
        if arriving is not None:
            self._await_arrival(call, arriving)
        future: Future[Any] = Future(loop=loop)
        if call.outcome is not None:
            call.settle(future, *call.outcome)
        else:
            if not (call.futures or (journal.remaining and call.key in journal)):
                self._hold_back(call)
            call.futures.append(future)
        try:
            return await future
        except CancelledError:
            calls.leave(call, future)
            raise
        finally:
            del future  # its failure leads back here by its traceback: a circle, which would keep the body's frames

    def hold(self, kind: Waited[A], ask: A, /) -> DurableCall[A]:
        """Make a call of it that nobody waits for."""
        return self._calls.hold(kind, ask, self.loop.now_us, self.loop.delivered)

    def decide(self, key: str, value: Raw, /) -> Entry | None:
        """Return what is recorded under `key`, now or before."""
        return self._deliveries.decide(key, value)

    @property
    def family(self) -> Family:
        """Its children."""
        calls = self._calls
        if calls.family is None:
            calls.family = Family(self._arrivals, self.loop, self.claimed.depth)
        return calls.family

    def number(self, common: str, /) -> str:
        """Return the key of the next call whose keys have this in common."""
        return self._calls.number(common)

    def label(self, labels: Mapping[str, str], /) -> None:
        """Have the labels written that the run has since, unless it repeats what it did."""
        if not self._deliveries.journal.remaining:
            self._on_labels(labels)

    # -- what the execution does

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Make `coroutine` the body's main task; the first `pump` starts it."""
        self._main = self.loop.add_task(coroutine, context=copy_context())

    def resolve(self, call: DurableCall[Any], ok: bool, value: bytes, at: int) -> None:
        """Take in the outcome of a started call; it is delivered by a later `pump`."""
        self._deliveries.add_outcome(at, call, ok, value)

    def pump(self, now: int, clock: Callable[[], float]) -> bool:
        """Run the body until nothing in it can move. True means that its slice of time is over: call again.

        `now` decides which timers are due, `clock` measures the slice, in seconds. Afterwards `outcome` says whether
        the body has ended.
        """
        main, deliveries, loop = self._main, self._deliveries, self.loop
        if main is None or self.outcome is not Outcome.RUNNING or (deliveries.asked and not deliveries.fires):
            return False
        deadline = clock() + SLICE_SECONDS
        try:
            with loop.stepping:
                if deliveries.fires:
                    deliveries.fire_asked()
                while True:
                    if loop.ready:
                        deliveries.run()
                    if main.done() and (main := self._finish(main)) is None:
                        return False
                    if not deliveries.deliver(now):
                        return bool(loop.ready)
                    if clock() > deadline:
                        return True
        except Diverged as error:
            self._diverge(error)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two out of the loop; here they are the body's failure, not the worker's end.
            self._end(Outcome.RAISED)
            self.error = error
            mark_as_seen(self.loop, error)
        return False

    def take_started(self, *, may_start_children: bool) -> Sequence[DurableCall[Any]]:
        """Return the new calls that are free to start, in the order they were asked for; children are started first."""
        calls, held = self._calls, self._calls.held
        if not (held or calls.family) or self.outcome is not Outcome.RUNNING or not self._deliveries.may_start():
            return ()
        if may_start_children:
            self._deliveries.start_children(STARTS_AT_ONCE)
        calls.held = {}
        return list(held.values())

    @property
    def children(self) -> Family | None:
        """Its children, if it has started any."""
        return self._calls.family

    @property
    def is_waiting(self) -> bool:
        """Whether an open call is answered by arrivals."""
        return self._calls.is_waiting

    def take_abandoned(self) -> Sequence[DurableCall[Any]]:
        """Return started calls that nobody waits for any more."""
        abandoned = self._calls.abandoned
        if not abandoned:
            return ()
        self._calls.abandoned = []
        return abandoned

    def answered(self, answer: Literal["done", "early", "news"], now: int) -> None:
        """Take in what the daemon says to the timer that was asked; if it fires, a later `pump` delivers it."""
        self._deliveries.answered(answer, now)

    @property
    def shown(self) -> Raw | None:
        """What the body has last said of itself; None while it repeats what it did, for a later word may be known."""
        return None if self._deliveries.journal.remaining else self._shown

    @property
    def spun(self) -> int:
        """How many handles it has run without rest since all that is recorded was delivered."""
        return self._deliveries.spun

    @property
    def is_asking(self) -> bool:
        """Whether nothing moves until the timer that was asked is answered."""
        return self._deliveries.asked is not None and not self._deliveries.fires

    @property
    def is_cancelled(self) -> bool:
        """Whether it is cancelled, and does not move before its tries have ended: nothing is let go until then."""
        return self._deliveries.is_cancelled

    @property
    def awaits_commit(self) -> bool:
        """Whether more is let go once a commit is done: that of its cancel, or that of the first of its starts."""
        family = self._calls.family
        return self._cancelling.is_unwritten or (family is not None and bool(family.held))

    def written(self, entries: Iterable[Entry]) -> bool:
        """Take in that these entries are durable; tell whether that lets go what was held until then."""
        return self._cancelling.written(entries) or self.awaits_commit

    @property
    def has_tries_alone(self) -> bool:
        """Whether nothing but outcomes of its tries can move it: no date, no arrival, no cancel."""
        return not self.loop.timers and self._deliveries.has_outcomes_alone

    @property
    def interrupted_by(self) -> Entry | None:
        """The entry of the cancel that has interrupted it; None if none has."""
        return self._cancelling.entry if self._cancelling.is_interrupted else None

    def next_due(self) -> int | None:
        """Return when a timer is due next; None if none is, or replay decides what fires."""
        return self._deliveries.next_due() if self.loop.timers else None

    def waits(self) -> list[str]:
        """Return the arrivals that open calls wait for: events by their names, others by their kind."""
        is_under_way = self._cancelling.is_under_way
        words = self._calls.words(through_cancel=is_under_way)
        if not is_under_way and self.loop.timers.sleep_at(LAST_DATE) is not None:
            words.append(WAKE)
        return words

    def ends_wanted(self) -> int | None:
        """Return how many children must end before the body moves by that, at least; None if it waits for none."""
        return self._calls.ends_wanted(self._arrivals)

    def is_answered(self) -> bool:
        """Tell whether arrivals that are here answer an open call: the next `pump` delivers them."""
        return self._deliveries.is_answered()

    def is_deadlocked(self) -> bool:
        """Tell whether the body is at rest and nothing can ever move it."""
        if self._calls.open or self.loop.ready or self.outcome is not Outcome.RUNNING:
            return False
        return not self._deliveries.can_come()

    def frontier(self) -> Frontier:
        """Return where it stands; to be asked before it leaves."""
        return Frontier.of(self._calls, self._deliveries.journal, self.loop, lacks=self.lacks)

    def waiting_lines(self) -> list[str]:
        """Return `file:line in function` of each place where the body waits."""
        return waiting_lines(self.loop)

    @property
    def open_calls(self) -> Collection[str]:
        """The keys of the calls that have no outcome yet, in the order in which they were asked for."""
        return self._calls.open

    def leave(self) -> list[str]:
        """Unwind the body; return where it could not be unwound. Nothing durable happens any more."""
        if self.outcome is Outcome.RUNNING:
            self._end(Outcome.LEFT)
        if self.loop.dead:
            return []
        refused = self._unwinding.unwind()
        # Cut the cycles, so that a run's memory is free at once and not when the garbage collector comes by.
        self._main = self.loop.workflow_run = self.error = None
        self.loop.tasks.clear()
        self._cancelling.close()
        del self.loop.stepping
        return refused

    # -- private

    def _hold_back(self, call: DurableCall[Any]) -> None:
        """Have a call let go that is not recorded, unless a retry has kept its result."""
        known = self.history.known.get(call.key)
        if known is None:
            call.kind.keep(call)
            self._calls.held[call.key] = call
        else:
            self.resolve(call, True, bytes(known.value), self.loop.now_us)

    def _await_arrival(self, call: DurableCall[A], kind: Arriving[A]) -> None:
        call.child = kind.child(call.ask)
        if call.child is not None:
            self.family.wait(call.child, call, kind)
            return
        self._calls.waiting[call.key] = call, kind
        timeout = kind.timeout(call.ask)
        if timeout is not None:
            call.timer = self.loop.add_timeout(call.key, timeout)

    def _interrupt(self) -> None:
        assert self._main is not None, "a body is interrupted that has not begun"
        interrupt(self._main, self.loop)

    def _hear_of(self, said_by: Task[Any] | None) -> None:
        """Have the main task hear that the generation ends, if it is not the one that has said it."""
        if said_by is None:
            self._interrupt()
        elif said_by is not self._main:
            said_by.add_done_callback(self._hand_on)

    def _hand_on(self, branch: Task[Any]) -> None:
        if self._main is not None and not hears(self._main):
            self._interrupt()

    def _on_problem(self, context: dict[str, Any]) -> None:
        # While it is unwound nobody is to await anything any more; nor is the end of a generation awaited.
        if not self._unwinding.begun and not isinstance(context.get("exception"), Onward):
            self.faults.add(*of_context(context), silent=self.replaying())

    def _finish(self, main: Task[Any]) -> Task[Any] | None:
        """Take in that the body has ended; return the main task that goes on in its place, if one does."""
        error = CancelledError("the body cancelled itself") if main.cancelled() else main.exception()
        goes_on = self.onward is not None and is_end(error)
        family = self._calls.family
        if family is not None and not goes_on and (children := family.take_closing()):
            self._main = self.loop.add_task(stay(main, self.ask(all_of(children))), context=copy_context())
            return self._main
        self.error = None if goes_on else error
        self._deliveries.end()
        tell_unseen(self.loop)
        if goes_on:
            self._end(Outcome.CONTINUED)
        elif error is None:
            # Asked for since the last delivery: no claim can have let it go.
            latest = (call for call in self._calls.held.values() if call.asked == self.loop.delivered)
            tell_unmade(self.loop, [call.kind.asked(call) for call in latest])
            self._end(Outcome.RETURNED)
            self.result = main.result()
        else:
            self._end(Outcome.RAISED)
        return None

    def _diverge(self, error: Diverged) -> None:
        asked, where = self._calls.asked(), self.waiting_lines()
        self.lacks = str(error) if isinstance(error, Gone) else ""
        self.diff = self.lacks or explain(str(error), self._deliveries.journal, asked, where)
        self._end(Outcome.DIVERGED)

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._unwinding.begin()
