"""Own the signals to stop in a process whose parent alone decides when it ends: they pass over it.

A terminal and an init send them to all processes at once, and the parent has a reason to let this one finish. They are
not ignored, for that would be passed on to all that is started from here: programs, to which handlers are not passed
on, and forks, which are given the signals back before one can come upon them, hear them as any process does.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from signal import Signals
from types import FrameType
from typing import Final

STOPS: Final = (Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)


@contextmanager
def stops_held_back() -> Iterator[None]:
    """Start a process inside it: stops wait there until it says what they mean to it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_stops_to_parent() -> None:
    """Let stops pass over this process, also those that were held back. In the main thread; again after user code.

    Calls of the system that they come upon go on.
    """
    _give_to_forks()
    for one in STOPS:
        signal.signal(one, _pass_over)
        signal.siginterrupt(one, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


@contextmanager
def stops_heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Call `listener` in the main thread at each stop, and once at the beginning: one may have come just before."""
    _listeners.append(listener)
    try:
        listener()
        yield
    finally:
        _listeners.remove(listener)


_listeners: Final[list[Callable[[], None]]] = []


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Leave it to the parent, who may have said what it means by it."""
    for listener in _listeners:
        listener()


class _Mask(threading.local):
    """What was blocked in a thread before it forked."""

    signals: set[int] = set()


_mask = _Mask()


def _before_fork() -> None:
    # Else one that comes before the fork has its handlers back would be lost, and whoever waits for its end hang.
    _mask.signals = set(signal.pthread_sigmask(signal.SIG_BLOCK, STOPS))


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.signals)


def _in_fork() -> None:
    for one in STOPS:
        if signal.getsignal(one) is _pass_over:
            signal.signal(one, signal.SIG_DFL)
    _after_fork()


@cache
def _give_to_forks() -> None:
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_fork)
