"""Own the one way in which text is taken of users' objects: their `__str__` may raise anything, or never end.

Whoever needs such text stands where the work must go on: on a worker's loop, at the end of a run. So user code is read
in a thread of its own, for no longer than SECONDS, and what it raises ends there, KeyboardInterrupt and SystemExit too.
"""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Final

SECONDS: Final = 1.0
"""Text takes microseconds; a lease, which nobody may renew while we wait, lasts a second or more."""
FIRST_PAUSE: Final = 0.5
LAST_PAUSE: Final = 1.0
"""Between two interruptions of a reading that is to end, in seconds."""
PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""Classes whose text is Python's own work: no user code runs."""


def text_of(value: object) -> str:
    """Return `str(value)`, or what is wrong with it. Never raises, and takes no longer than SECONDS."""
    return _text_by(str, value)


def shown(value: object) -> str:
    """Return `repr(value)`, or what is wrong with it. Never raises, and takes no longer than SECONDS."""
    return _text_by(repr, value)


def guarded(read: Callable[[], None]) -> str | None:
    """Call `read`, which may run user code; return why it did not come to its end, or None.

    It runs in another thread. If it does not end in time it is left, and told to end until it does: it may then not
    touch what we use.
    """
    reading = _Reading(read)
    try:
        reading.start()
    except RuntimeError as error:  # the system gives no more threads
        return str(error)
    return reading.outcome()


def _text_by(take: Callable[[object], str], value: object) -> str:
    if type(value) in PLAIN:
        try:
            return take(value)
        except ValueError:  # a whole number of more digits than Python turns into text
            return "(a number of too many digits)"
    texts: list[str] = []
    # Plain text of a subclass of str too, which could have methods of its own.
    why = guarded(lambda: texts.append(str.__str__(take(value))))
    return texts[0] if why is None else f"(a {type(value).__name__}, whose text cannot be read: {why})"


class _Reading:
    """One reading of user code, in a thread that it has: as a thread's own, its names could be those of Python's."""

    def __init__(self, read: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=self._run, name="aiki-text", daemon=True)
        self._read = read
        self._context = copy_context()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._why: str | None = None

    def start(self) -> None:
        """Begin; raises RuntimeError where the system gives no more threads."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._context.run(self._read)
        except BaseException as error:  # noqa: BLE001 - the boundary of user code
            self._why = f"{type(error).__name__} was raised"
        finally:
            with self._lock:
                self._ended.set()

    def outcome(self) -> str | None:
        """Return why the reading did not come to its end in time, or None."""
        if self._ended.wait(SECONDS):
            return self._why
        threading.Thread(target=self._end, name="aiki-text-end", daemon=True).start()
        return f"it took longer than {SECONDS:g} s"

    def _end(self) -> None:
        """Interrupt it until it ends: `traceback` for one catches what a text raises, and takes the next one."""
        pause = FIRST_PAUSE  # before the first, too: whoever gave up looks now at what was read so far
        while not self._ended.wait(pause):
            self._interrupt()
            pause = min(2 * pause, LAST_PAUSE)

    def _interrupt(self) -> None:
        """Raise SystemExit in the thread, if it is at Python code: a loop in it would take the GIL again and again."""
        import ctypes  # few need it, and it takes a while

        with self._lock:
            # Only while it has not ended: its ident might belong to another thread by then.
            if not self._ended.is_set() and (ident := self._thread.ident) is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
