"""Own a place on a terminal where lines are drawn over and over; it never asks what is drawn.

The cursor rests at the upper left corner of what is drawn, for a terminal that is made narrower may wrap its lines
anew, or may not: how many lines they take up by then nobody can know, but the cursor stays with the text, and all from
it on is ours. So whatever has become of the terminal, the next drawing wipes the last one.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Final

from aiki_cli.view.output import is_terminal

_HIDE: Final = "\x1b[?25l"
_SHOW: Final = "\x1b[?25h"
_WRAP: Final = "\x1b[?7h"
_CUT: Final = "\x1b[?7l"
"""Lines are cut to the width, but the terminal may have become narrower since it was asked."""
_TO_LINE_END: Final = "\x1b[K"
_TO_SCREEN_END: Final = "\x1b[J"
_DEFAULT_SIZE: Final = (80, 24)


def can_draw() -> bool:
    """Tell whether stderr is a terminal where something may be drawn again: it obeys, and is not another command's."""
    if not is_terminal(sys.stderr) or os.environ.get("TERM", "dumb") in {"", "dumb", "unknown"}:
        return False
    return _is_foreground()


def size() -> tuple[int, int]:
    """Return the columns and lines of the terminal at stderr."""
    try:
        columns, rows = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        return _DEFAULT_SIZE
    return columns or _DEFAULT_SIZE[0], rows or _DEFAULT_SIZE[1]


class Screen:
    """The terminal at stderr, from where its cursor stands when the first lines are drawn."""

    def __init__(self) -> None:
        self._drawn: Sequence[str] = ()

    def draw(self, lines: Sequence[str]) -> None:
        """Draw `lines`, none wider than the terminal and all together not higher, over those that stand there."""
        if lines != self._drawn:
            self._drawn = lines
            up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
            _write(_HIDE + _CUT + _laid(lines) + up + "\r" + _WRAP)

    def wipe(self) -> None:
        """Leave nothing of what is drawn, and the cursor where it began."""
        if self._drawn:
            _write("\r" + _TO_SCREEN_END + _SHOW)
        self._drawn = ()

    def leave(self, lines: Sequence[str]) -> None:
        """Draw `lines` for the last time, and go on below them."""
        if self._drawn or lines:
            below = "\r\n" if lines else ""
            _write(_CUT + _laid(lines) + below + _WRAP + _SHOW)
        self._drawn = ()


@contextmanager
def attended(changed: Callable[[], object], pause: Callable[[], None]) -> Iterator[None]:
    """Call `changed` when the terminal has another size, or is ours again, and `pause` before Ctrl-Z lets go of it.

    What is typed meanwhile is not echoed, for that would move the cursor; unless stdout is read by another program,
    which may be at the keyboard itself. Enter and leave it in the main thread.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        pause()
        os.kill(os.getpid(), signal.SIGSTOP)  # here it goes on once it is continued
        changed()

    with ExitStack() as stack:
        if is_terminal(sys.stdin) and is_terminal(sys.stdout):
            stack.enter_context(_unechoed())
        for number, react in ((signal.SIGWINCH, lambda number, frame: changed()), (signal.SIGTSTP, stop)):
            before = signal.signal(number, react)
            stack.callback(signal.signal, number, before or signal.SIG_DFL)
        yield


@contextmanager
def _unechoed() -> Iterator[None]:
    terminal = sys.stderr.fileno()
    try:
        before = termios.tcgetattr(terminal)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    except termios.error:
        yield
        return
    try:
        yield
    finally:
        with suppress(termios.error):  # it was closed meanwhile
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _laid(lines: Sequence[str]) -> str:
    """Return what lays out lines from the cursor on, over whatever stands there."""
    return "\r" + "\r\n".join(line + _TO_LINE_END for line in lines) + _TO_SCREEN_END


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _is_foreground() -> bool:
    """Tell whether the terminal is ours to draw on, and not that of the command which runs before us."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:
        return True  # it is nobody's terminal, so nobody else draws on it
