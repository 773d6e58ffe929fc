"""Own what a signal to stop does: the first one asks, a second one ends the process at once, whatever it is at.

A thread of its own hears them. Python calls a handler between two instructions of the main thread, and an event loop
calls one when it gets to it: neither comes while user code or a full pipe holds the main thread, if the kernel has
handed the signal to another thread. But the interpreter writes a byte for each signal, wherever it was caught
(`signal.set_wakeup_fd`). Those bytes come here first; what is not ours is passed on to the loop.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from signal import Signals
from types import FrameType
from typing import Final, NoReturn

from aiki.process.stderr import say_last_words

_NO_SIGNAL: Final = b"\0"


@contextmanager
def obeying(
    stop: Callable[[Signals], None],
    *signals: Signals,
    again: Callable[[Signals], None] | None = None,
) -> Iterator[None]:
    """Have the first of `signals` call `stop`, and each further one `again`: by default it ends the process at once.

    Both are called in another thread; enter and leave it in the main thread. SIGHUP stays ignored where it was, as
    under nohup. Inside it the signals are nobody else's, an outer `obeying` included.
    """
    came = 0

    def react(number: Signals) -> None:
        nonlocal came
        came += 1
        (stop if came == 1 else again or end_at_once)(number)

    ignored = signal.getsignal(Signals.SIGHUP) is signal.SIG_IGN
    ear = _Ear([one for one in signals if not (ignored and one is Signals.SIGHUP)], react)
    try:
        yield
    finally:
        ear.close()


def end_at_once(number: Signals) -> NoReturn:
    """End without another step, as the signal itself would: an ordinary exit waits for what cannot be stopped."""
    say_last_words()
    os._exit(128 + number)


class _Ear:
    """Hears some signals until it is closed."""

    def __init__(self, signals: list[Signals], react: Callable[[Signals], None]) -> None:
        self._heard = frozenset(signals)
        self._react = react
        self._reads, self.writes = os.pipe()
        os.set_blocking(self.writes, False)  # as `set_wakeup_fd` wants it
        self._others: list[int] = []
        """To whom the bytes of other signals go on: who had them before, and loops that took them since."""
        _ears.append(self)
        self.take_bytes()
        self._before = {one: signal.signal(one, self._on_signal) for one in signals}
        self._thread = threading.Thread(target=self._listen, name="aiki-signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the signals back, once those that came have been reacted to."""
        if self not in _ears:
            return  # forgotten
        for one, handler in self._before.items():
            signal.signal(one, handler or signal.SIG_DFL)  # None: it was set by other means than Python's
        signal.set_wakeup_fd(self._others[0], warn_on_full_buffer=False)
        _ears.remove(self)
        os.write(self.writes, _NO_SIGNAL)  # its end would not do: a forked child of a task's may hold it, too
        self._thread.join()
        os.close(self.writes)
        os.close(self._reads)

    def forget(self) -> None:
        """Let the signals mean what they mean to any process."""
        signal.set_wakeup_fd(-1)
        for one in self._heard:
            signal.signal(one, signal.SIG_DFL)

    def take_bytes(self) -> int:
        """Have the interpreter write its bytes here; return where it wrote them until now."""
        until_now = signal.set_wakeup_fd(self.writes, warn_on_full_buffer=False)
        if until_now != self.writes:
            self._others.append(until_now)
        return until_now

    def _listen(self) -> None:
        while (byte := os.read(self._reads, 1)) != _NO_SIGNAL:
            if byte[0] in self._heard:
                self._react(Signals(byte[0]))
                continue
            for other in self._others:
                with suppress(OSError):  # there is none, or it is full and so wakes up anyway
                    os.write(other, byte)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Do nothing but take the bytes back, and add this one, if a loop's `add_signal_handler` has taken them."""
        if _ears[-1].take_bytes() not in {ear.writes for ear in _ears}:
            os.write(self.writes, bytes([number]))


_ears: list[_Ear] = []


def _forget_all() -> None:
    """In a fork of a task's nobody listens, and its signals are none of ours."""
    for ear in _ears:
        ear.forget()
    _ears.clear()


os.register_at_fork(after_in_child=_forget_all)
