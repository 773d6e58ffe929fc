"""Own how a command becomes another interpreter, with options or variables that count from Python's start on."""

from __future__ import annotations

import os
import sys

# As `signal` has them, but for enums whose import Ctrl-C could still cut short.
from _signal import SIG_BLOCK, SIG_UNBLOCK, SIGINT, pthread_sigmask

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def start_again(options: Sequence[str] = (), arguments: Sequence[str] = (), **variables: str) -> NoReturn:
    """Become this command once more, with options of Python's, more arguments and variables.

    A Ctrl-C waits until that one has come to `hear_interrupts`: Python would tell of it with a traceback.
    """
    pthread_sigmask(SIG_BLOCK, {SIGINT})
    command = [sys.executable, *options, *sys.orig_argv[1:], *arguments]
    os.execve(sys.executable, command, {**os.environ, **variables})  # noqa: S606 - ourselves


def hear_interrupts() -> None:
    """Let a Ctrl-C come that waits; how it is dealt with is said before."""
    pthread_sigmask(SIG_UNBLOCK, {SIGINT})
