"""Own what Ctrl-C does to a program whose main task waits in `Worker.run()`: it drains, and a second one ends it.

A KeyboardInterrupt would cut the drain short and end in a traceback. But Ctrl-C is a program's own affair: where
something else hears it, or the worker is one of several tasks, it stays as it is.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from signal import Signals

from aiki.process.signals import obeying

log = logging.getLogger("aiki.worker")


def obeying_ctrl_c(stop: Callable[[], None], *, drain_seconds: float) -> AbstractContextManager[None]:
    """Have Ctrl-C call `stop` on this loop, if it would cancel the current task; again, it ends the process at once."""
    if not _would_cancel_us():
        return nullcontext()
    loop = asyncio.get_running_loop()

    def on_ctrl_c(_: Signals) -> None:
        loop.call_soon_threadsafe(stop)
        log.warning("draining for at most %g s; Ctrl-C again gives up at once", drain_seconds)

    return obeying(on_ctrl_c, Signals.SIGINT)


def _would_cancel_us() -> bool:
    """Tell whether asyncio's Runner (of `asyncio.run`, and of those like it) hears Ctrl-C, and runs this very task."""
    handler = signal.getsignal(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    main_task = getattr(handler, "keywords", {}).get("main_task")
    return isinstance(runner, asyncio.Runner) and main_task is asyncio.current_task()
