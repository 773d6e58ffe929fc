"""Own the durable calls of a body that wait for an outcome: which stand open, are held back, shared, or given up.

Their keys are content-addressed: calls of one kind, name and input are counted in the run, unless their kind says that
all with one key are the same call.
"""

from __future__ import annotations

from asyncio import Future
from itertools import chain
from typing import TYPE_CHECKING, Any

from aiki.core.errors import UsageError
from aiki.core.keys import numbered
from aiki.execution.kind import A, Arriving, DurableCall, Waited, joined
from aiki.wire.limits import WAITED_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from msgspec import Raw

    from aiki.execution.arrivals import Arrivals
    from aiki.execution.called import Called
    from aiki.execution.family import Family
    from aiki.execution.loop import RunLoop


class CallTable:
    """All calls of one run by key."""

    __slots__ = (
        "_counts",
        "_loop",
        "_shared",
        "_spare",
        "abandoned",
        "called",
        "family",
        "gone",
        "held",
        "open",
        "waiting",
    )

    def __init__(self, loop: RunLoop, called: Called) -> None:
        self._loop = loop
        self.called = called
        """How much of what calls are made with people are told."""
        self.open: dict[str, DurableCall[Any]] = {}
        self.held: dict[str, DurableCall[Any]] = {}
        """Those of the open ones that nobody has let go yet, in the order in which they were asked for."""
        self.waiting: dict[str, tuple[DurableCall[Any], Arriving[Any]]] = {}
        """Those of the open ones that arrivals answer, with their kind, in the order in which they were asked for.

        Who waits for the end of one child stands in the `family` instead.
        """
        self.family: Family | None = None
        """The children of the run, once it has any."""
        self.abandoned: list[DurableCall[Any]] = []
        """Started calls that nobody waits for any more."""
        self.gone: set[str] = set()
        """Keys whose last caller left before the outcome came."""
        self._counts: dict[str, int] = {}
        self._spare = WAITED_WORDS
        """So many words more can be waited for, at least, before they are to be counted."""
        self._shared: dict[str, DurableCall[Any]] = {}

    def ask(self, kind: Waited[A], ask: A, now: int, delivered: int) -> DurableCall[A]:
        """Return a new call, or the one whose key this one shares, open or answered.

        Raises PayloadError if what it is asked with does not fit, Conflict if the shared key was used with another.
        """
        key, conflict, form = kind.key(ask)
        if conflict is not None:
            made = DurableCall(kind, key, ask, form, now, delivered, self.called)
            return self._join(made) if conflict is joined else self._share(made, conflict)
        key = self.number(key)
        call = self.open[key] = DurableCall(kind, key, ask, form, now, delivered, self.called)
        return call

    def hold(self, kind: Waited[A], ask: A, now: int, delivered: int) -> DurableCall[A]:
        """Return a new call that nobody waits for. Raises PayloadError if what it is asked with does not fit."""
        key, _, form = kind.key(ask)
        return DurableCall(kind, self.number(key), ask, form, now, delivered, self.called)

    def number(self, common: str) -> str:
        """Return the key of the next call whose keys have this in common."""
        count = self._counts[common] = self._counts.get(common, 0) + 1
        return numbered(common, count)

    def expect(self, words: Sequence[str]) -> None:
        """Make room for a call that waits for these arrivals. Raises UsageError if no park could name them all."""
        self._spare -= len(words)
        if self._spare >= 0:
            return
        known = len({*words, *self.words()})
        if known > WAITED_WORDS:
            raise UsageError(
                f"the body waits for more than {WAITED_WORDS:,} different events at once",
                hint="wait for one event whose value tells what it is about, or for fewer at a time",
            )
        self._spare = WAITED_WORDS - known

    @property
    def is_waiting(self) -> bool:
        """Whether an open call is answered by arrivals."""
        return bool(self.waiting) or (self.family is not None and self.family.is_awaited)

    def asked(self) -> list[DurableCall[Any]]:
        """Return the calls whose outcome, or whose start, is not recorded yet."""
        return [*self.open.values(), *(() if self.family is None else self.family.held.values())]

    def kind_of(self, call: DurableCall[Any]) -> Arriving[Any] | None:
        """Return the kind of an open call that arrivals answer; None if none do."""
        if call.child is not None and self.family is not None:
            return self.family.kind_of(call.child)
        waiting = self.waiting.get(call.key)
        return None if waiting is None else waiting[1]

    def awaiting(self) -> Iterable[tuple[DurableCall[Any], Arriving[Any]]]:
        """Return the open calls that arrivals answer, with their kind."""
        waiting = self.waiting.values()
        return waiting if self.family is None else chain(waiting, self.family.awaited())

    def words(self, *, through_cancel: bool = False) -> list[str]:
        """Return the arrivals that open calls wait for, each once; `through_cancel` those that a cancel lets in."""
        calls = ((call, kind) for call, kind in self.awaiting() if kind.through_cancel or not through_cancel)
        return list(dict.fromkeys(word for call, kind in calls for word in kind.waits(call.ask)))

    def ends_wanted(self, arrivals: Arrivals) -> int | None:
        """Return how many children must end before an open call is answered, at least; None if none waits for any."""
        if self.family is not None and self.family.is_awaited:
            return 1
        wanted = (kind.ends_wanted(call, arrivals) for call, kind in self.waiting.values())
        return min((count for count in wanted if count is not None), default=None)

    def _join(self, made: DurableCall[A]) -> DurableCall[A]:
        self.gone.discard(made.key)
        return self.open.setdefault(made.key, made)

    def _share(self, made: DurableCall[A], conflict: Callable[[A], Exception]) -> DurableCall[A]:
        key = made.key
        call = self._shared.get(key)
        if call is not None:
            if call.form != made.form:
                raise conflict(made.ask)
            if call.outcome is not None or key in self.open:
                return call
        self._shared[key] = self.open[key] = made
        self.gone.discard(key)
        return made

    def close(self, call: DurableCall[Any], ok: bool, value: bytes | Raw) -> None:
        """Deliver the call's outcome, which is the delivery that the loop has counted last."""
        key = call.key
        call.place, call.answered_at = self._loop.delivered, self._loop.now_us
        del self.open[key]
        if key in self.waiting or call.child is not None:
            self.wait_no_more(call)
        if self._shared:
            self.remember(call, ok, value)
        call.answer(ok, value)

    def remember(self, call: DurableCall[Any], ok: bool, value: bytes | Raw) -> None:
        """Keep the call's outcome for those who share it and come later."""
        if call.key in self._shared:
            call.outcome = (ok, value)

    def leave(self, call: DurableCall[Any], future: Future[Any]) -> None:
        """Take back one caller's wait; after the last one's the call is abandoned, if it was let go."""
        key = call.key
        if self.open.get(key) is not call:
            return
        call.futures.remove(future)
        if call.futures:
            return
        del self.open[key]
        self.gone.add(key)
        if key in self.waiting or call.child is not None:
            self.wait_no_more(call)
        if self.held.pop(key, None) is None:
            self.abandoned.append(call)

    def wait_no_more(self, call: DurableCall[Any]) -> None:
        """Have no arrival answer the call any more."""
        if call.child is not None:
            assert self.family is not None, "it waits for a child"
            self.family.wait_no_more(call.child)
            call.child = None
            return
        del self.waiting[call.key]
        if call.timer is not None:
            call.timer.cancel()
