"""Own the asyncio tasks in which coroutines are tried: one goes from try to try as long as each ends in its first step.

Most coroutines of a busy worker never wait, and a task of asyncio's costs as much as one of them does. But what runs
may ask for the current task (timeouts, task groups, anyio's scopes, loggers do), so there has to be one, and the same
one until the try has ended. So the task in which a try begins is kept by it from the moment that it waits; and one
that somebody else has come to hold, calls back at its end, or has cancelled is given to no other try: who asks for the
current task finds one of its own, and nothing in it from before. Each try has a context of its own.

A function that has waited once is taken to wait again, and its tries have a task each from the beginning: else what
was given after it would wait for a turn of the loop more, one after the other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from sys import getrefcount
from types import coroutine
from typing import Any, Final, Protocol, TypeVar
from weakref import getweakrefcount

R = TypeVar("R")
_IDLE: Final = "idle"
_OWN: Final = frozenset({"call", "is_touched"})
"""What is kept here for a hand itself."""


class Beginner(Protocol):
    """A try that is to run as a coroutine."""

    @property
    def name(self) -> str:
        """What it runs: of tries with one name it is expected that all wait, or none."""
        ...

    def begin(self, hand: Hand) -> Awaitable[None] | None:
        """Take the first step in `hand`; return the rest, which keeps `hand`, or None if that was all."""
        ...


class Hand(asyncio.Task[None]):
    """A task that may go from try to try."""

    is_touched = False
    """Somebody has asked something of it that outlives a try."""
    call: asyncio.Future[None]
    """What it waits for while it has no work."""

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, as on any task of asyncio's: some keep there what is theirs."""
        super().__setattr__(name, value)
        if name not in _OWN:
            self.is_touched = True

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it, as asyncio does."""
        self.is_touched = True
        return super().cancel(msg)

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Add a callback, as asyncio does."""
        self.is_touched = True
        super().add_done_callback(fn, context=context)


class Hands:
    """The hands of one bench: one begins what is given to them, or waits for that; the others are each with a try."""

    __slots__ = ("_at_work", "_context", "_idle", "_is_closed", "_loop", "_queue", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._loop = loop
        self._context = context
        self._queue: deque[Beginner] = deque()
        self._at_work: Hand | None = None
        """The one that begins what is in the queue, or was called for it."""
        self._idle: Hand | None = None
        self._is_closed = False
        self._waiting: set[str] = set()
        """The names of functions that have waited."""

    def give(self, beginner: Beginner) -> None:
        """Have it begin in the loop's next turn."""
        if beginner.name in self._waiting:
            Hand(self._work_alone(beginner), loop=self._loop, context=self._context)
            return
        self._queue.append(beginner)
        if self._at_work is None or self._at_work.done():
            self._call()

    def close(self) -> None:
        """End the hand that waits for work; the others end with what they have."""
        self._is_closed = True
        if self._idle is not None and not self._idle.call.done():
            self._idle.call.set_result(None)

    # -- private

    def _call(self) -> None:
        hand, self._idle = self._idle, None
        if hand is None or hand.call.done():
            hand = Hand(self._work(), loop=self._loop, context=self._context)
            # Not in the end of its coroutine: one that is cancelled before it began comes to none.
            asyncio.Task.add_done_callback(hand, self._on_done)
        else:
            hand.call.set_result(None)
        self._at_work = hand

    def _hand_over(self, hand: Hand) -> None:
        """Have another hand do what is left: this one is with its try, or has come to its end."""
        if self._at_work is hand:
            self._at_work = None
            if self._queue:
                self._call()

    def _on_done(self, hand: Hand) -> None:
        self._hand_over(hand)
        if not hand.cancelled() and (error := hand.exception()) is not None:
            self._loop.call_exception_handler({"message": "a bug in aiki", "exception": error, "task": hand})

    async def _work_alone(self, beginner: Beginner) -> None:
        rest = beginner.begin(_this_hand())
        if rest is not None:
            await rest

    async def _work(self) -> None:
        hand = _this_hand()
        rest = self._begin(hand)
        while rest is None and not hand.is_touched and await self._finds_more(hand):
            rest = self._begin(hand)
        if rest is not None:
            self._hand_over(hand)
            await rest

    def _begin(self, hand: Hand) -> Awaitable[None] | None:
        """Begin what is in the queue by now, until one try keeps the hand; return the rest of one that waits."""
        queue = self._queue
        # Looked at anew each time: how asyncio itself holds a task that runs depends on what woke it.
        holders = getrefcount(hand) + getweakrefcount(hand)
        for _ in range(len(queue)):
            beginner = queue.popleft()
            rest = beginner.begin(hand)
            if rest is not None:
                self._waiting.add(beginner.name)
                return rest
            if hand.is_touched or getrefcount(hand) + getweakrefcount(hand) != holders:
                hand.is_touched = True
                return None
        return None

    async def _finds_more(self, hand: Hand) -> bool:
        """Wait for work, or let others have a turn if there is some already; tell whether there is any."""
        if self._queue:
            await asyncio.sleep(0)
            return True
        if self._is_closed:
            return False
        hand.set_name(_IDLE)
        hand.call = self._loop.create_future()
        self._at_work, self._idle = None, hand
        await hand.call
        return bool(self._queue)


def _this_hand() -> Hand:
    hand = asyncio.current_task()
    assert isinstance(hand, Hand)
    return hand


@coroutine
def steps(context: Context, work: Coroutine[Any, Any, R], waits_for: Any) -> Generator[Any, Any, R]:
    """Go on with `work`, which waits for what it has yielded, with each step in `context`; return what it returns."""
    while True:
        sent: Any = None
        step: Callable[[Any], Any] = work.send
        try:
            sent = yield waits_for
        except GeneratorExit:
            context.run(work.close)
            raise
        except BaseException as error:  # noqa: BLE001 - it is handed on
            # Without this frame: what a traceback ends with is where it happened, and that is the user's line.
            sent, step = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next), work.throw
        try:
            waits_for = context.run(step, sent)
        except StopIteration as over:
            result: R = over.value
            return result
        finally:
            sent = None  # else an error and this frame would hold each other
