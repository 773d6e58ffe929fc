"""Own the calls of a claimed run whose keys other runs may have, too: what is asked of each, and given back.

Such a call is no try at first: it asks for its key, in the run's next unit. If it has won that, it is tried like any
other, and what comes of it goes with the word that this is the key's result, in one unit. If another run has the key,
it waits, until an arrival says that it may ask again. If that has come to a result, this is the call's own outcome.

A key is given back as soon as no try for it can still run. If one does that nobody waits for any more, the key is
*left*: on record at once, and given back when that try has ended. A claim that ends waits for it within its grace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from aiki.core.canonical import digest
from aiki.core.moments import SECOND
from aiki.execution.failures import encode_failure
from aiki.execution.kinds.task import in_conflict
from aiki.wire.messages import KeyAsk

if TYPE_CHECKING:
    from aiki.execution.arrivals import Arrivals
    from aiki.execution.kind import TaskCall
    from aiki.execution.outbox import Outbox
    from aiki.execution.tasks.attempts import Attempts
    from aiki.wire.messages import Claimed, KeyAnswer

WORD: Final = "key"
"""What a parked run calls the arrival that says that it may ask again."""


class _Stand(Enum):
    """How a call stands to its key."""

    WANTED = auto()
    """It is to be asked for."""
    ASKED = auto()
    """The daemon has yet to say who has it."""
    AWAITED = auto()
    """Another run has it."""
    WON = auto()
    """It is this call's, and the task is tried."""


@dataclass(eq=False, slots=True)
class _Shared:
    call: TaskCall
    ask: KeyAsk
    stand: _Stand = _Stand.WANTED
    heard: int = 0
    """The last arrival that tells of it, when it was asked for."""


class Sharing:
    """The calls of one run that share their keys with those of others."""

    __slots__ = (
        *("_arrivals", "_attempts", "_claimed", "_counts", "_is_hurried", "_left", "_on_outcome", "_outbox"),
        "_shared",
    )

    def __init__(
        self,
        claimed: Claimed,
        attempts: Attempts,
        outbox: Outbox,
        arrivals: Arrivals,
        *,
        on_outcome: Callable[[TaskCall | None, bool, bytes], None],
    ) -> None:
        """`on_outcome` gets (call, ok, value) of a call that another run has the outcome of."""
        self._claimed = claimed
        self._attempts = attempts
        self._outbox = outbox
        self._arrivals = arrivals
        self._on_outcome = on_outcome
        self._is_hurried = False
        self._shared: dict[str, _Shared] = {}
        self._counts = dict.fromkeys(_Stand, 0)
        """How many of them stand so: a body may call thousands at once, and is looked at for each outcome."""
        self._left: dict[str, tuple[KeyAsk, int]] = {}
        """Keys for which a try may still run that nobody waits for any more, and until when it has for its end."""

    # -- what becomes of a call

    def share(self, call: TaskCall) -> None:
        """Take a new call: its key is asked for as soon as that may be."""
        task = call.ask.task
        assert task.idempotency_key is not None, "a key that is shared is one that was given"
        scope = self._claimed.workflow if task.idempotency_scope == "workflow" else ""
        ask = KeyAsk(call.key, scope, task.name, task.idempotency_key, digest(call.form))
        self._shared[call.key] = _Shared(call, ask)
        self._counts[_Stand.WANTED] += 1

    def give_up(self, call: TaskCall) -> None:
        """Forget a call that nobody waits for."""
        shared = self._shared.get(call.key)
        if shared is None or shared.call is not call:
            return
        self._drop(shared)
        until = self._attempts.grace_of(call)
        if shared.stand is _Stand.WON:
            self._attempts.cancel(call)
        if shared.stand is not _Stand.WANTED:
            self._give_back(shared, until)

    def ask(self) -> None:
        """Ask for the keys that are wanted, and again for those that others may have given back."""
        wanted = self._shared.values() if self._counts[_Stand.WANTED] else ()
        for shared in [*(one for one in wanted if one.stand is _Stand.WANTED), *self._told()]:
            key = shared.call.key
            if not self._attempts.lasts(key):
                shared.heard = self._arrivals.last_word(key)
                self._move(shared, _Stand.ASKED)
                self._outbox.want(shared.ask)

    def answered(self, asks: Sequence[KeyAsk], answers: Sequence[KeyAnswer], now: int) -> None:
        """Take in what the daemon says to what a unit has asked."""
        for ask, answer in zip(asks, answers, strict=True):
            shared = self._shared.get(ask.call)
            if shared is None or shared.ask is not ask or shared.stand is not _Stand.ASKED:
                continue  # it was given back, or up
            if answer.result == "won":
                self._move(shared, _Stand.WON)
                shared.call.since = answer.since or now  # what it has waited is none of the task's time
                self._attempts.admit(shared.call, now, announce=False)
            elif answer.result == "waits":
                self._move(shared, _Stand.AWAITED)
            else:
                self._drop(shared)
                self._settle(shared, answer)

    def take_in(self) -> None:
        """Have what was recorded of calls that have their keys be on record of these, too, in one unit with it."""
        for entry in self._outbox.unsent:
            shared = self._shared.get(entry.key)
            if shared is None or shared.stand is not _Stand.WON:
                continue
            self._drop(shared)
            if entry.ok:
                keep = round(shared.call.ask.task.idempotency_retention * SECOND)
                self._outbox.want(replace(shared.ask, want="done", keep=keep))
            else:
                self._give_back(shared, self._attempts.grace_of(shared.call))

    def on_last_end(self, key: str) -> None:
        """Take in that none of the tries of a call runs any more that were given up."""
        left = self._left.pop(key, None)
        if left is not None:
            self._outbox.want(replace(left[0], want="free"))

    def end(self) -> None:
        """Leave the keys for which a try may still run, now that the claim ends and its tries were cancelled.

        All others are free by its end.
        """
        for key, shared in self._shared.items():
            if shared.stand is _Stand.WON and self._attempts.lasts(key):
                self._give_back(shared, self._attempts.grace_of(shared.call))
        self._shared.clear()
        self._counts = dict.fromkeys(_Stand, 0)

    def hurry(self) -> None:
        """Have nobody wait for tries that may still run: the session ends soon, and with it what is left in it."""
        self._is_hurried = True

    def close(self) -> None:
        """Forget all calls, and the owner."""
        self._shared.clear()
        self._counts = dict.fromkeys(_Stand, 0)
        self._left.clear()
        self._on_outcome = _ignore

    # -- how the run stands by that

    @property
    def has_any(self) -> bool:
        """Whether there are any such calls."""
        return bool(self._shared)

    @property
    def left_until(self) -> int | None:
        """Until when the claim's end waits for tries for which a key is left; None if it does not."""
        if self._is_hurried or not self._left:
            return None
        return max(until for _, until in self._left.values())

    @property
    def is_asking(self) -> bool:
        """Whether the daemon has yet to say who has a key."""
        return self._counts[_Stand.ASKED] > 0

    @property
    def is_ready(self) -> bool:
        """Whether a key is to be asked for as soon as that may be."""
        return self._counts[_Stand.WANTED] > 0 or self.is_told

    @property
    def is_told(self) -> bool:
        """Whether an arrival says that a key may be asked for again."""
        return bool(self._told())

    @property
    def is_waiting(self) -> bool:
        """Whether a key is another run's."""
        return self._counts[_Stand.AWAITED] > 0

    # -- private

    def _move(self, shared: _Shared, stand: _Stand) -> None:
        self._counts[shared.stand] -= 1
        self._counts[stand] += 1
        shared.stand = stand

    def _drop(self, shared: _Shared) -> None:
        self._counts[shared.stand] -= 1
        del self._shared[shared.call.key]

    def _told(self) -> list[_Shared]:
        """Return the calls that wait for a key and may ask for it again."""
        words = self._arrivals.words if self._counts[_Stand.AWAITED] else {}
        called = ((self._shared.get(key), numbers[-1]) for key, numbers in words.items())
        return [one for one, last in called if one is not None and one.stand is _Stand.AWAITED and last > one.heard]

    def _give_back(self, shared: _Shared, until: int) -> None:
        """Give a key back, or leave it for a try that has until then for its end."""
        key = shared.call.key
        if not self._attempts.lasts(key):
            self._outbox.want(replace(shared.ask, want="free"))
        elif shared.stand is _Stand.WON:
            self._left[key] = shared.ask, until
            self._outbox.want(replace(shared.ask, want="left"))

    def _settle(self, shared: _Shared, answer: KeyAnswer) -> None:
        if answer.result == "settled":
            self._on_outcome(shared.call, True, bytes(answer.value))
        else:
            failure = in_conflict(shared.call, answer.holder or "another run")
            self._on_outcome(shared.call, False, encode_failure(failure))


def _ignore(call: TaskCall | None, ok: bool, value: bytes) -> None:
    """Take no outcome: the claim is over."""
