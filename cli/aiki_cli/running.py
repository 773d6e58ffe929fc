"""Own how a command runs: its loop, what signals do to it, and the exit code for whatever comes of it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Coroutine
from inspect import iscoroutinefunction
from signal import Signals
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from aiki.process.signals import end_at_once, obeying
from aiki_cli import exits, failures
from aiki_cli.view.output import NobodyReads
from aiki_cli.view.secrets import refuse_secret_flag

if TYPE_CHECKING:
    from aiki_cli.session import Session
    from aiki_cli.view.found import End, Found, Line, Rows, Text

    Later: TypeAlias = Callable[[], Coroutine[Any, Any, Found]]
    """What is done in the loop: nothing that reads a file or a terminal, for Ctrl-C waits there until it is over."""
    Result: TypeAlias = int | Text | Line | Rows | Later
    """What a command comes to: what it found, or the exit code of the processes that it ran."""

T = TypeVar("T")


class Terminated(BaseException):
    """A signal to end came."""

    def __init__(self, number: Signals) -> None:
        super().__init__(number)
        self.number = number


def finish(
    session: Session,
    command: Callable[[], Result | Coroutine[Any, Any, Found]],
    *,
    asks: Callable[[], None] | None = None,
) -> int:
    """Run a command, show what it found, and return the exit code for whatever came of it.

    `asks` is called before, and raises what keeps it from being run.
    """
    try:
        refuse_secret_flag(session.common.url)
        if session.common.columns is not None:
            session.choose_columns(session.common.columns)
        if asks is not None:
            asks()
        with session.files:
            return _run(session, command)
    except NobodyReads:
        return exits.OK
    except KeyboardInterrupt:
        return _interrupted(session, exits.INTERRUPTED)
    except Terminated as error:
        return _interrupted(session, exits.of_signal(error.number))
    except Exception as error:  # noqa: BLE001 - the edge of the program: every error becomes an exit code
        return failures.report(_single(error), session.out.mode)


def in_loop(command: Callable[[], Coroutine[Any, Any, T]], *, fast: bool = False) -> T:
    """Run `command` to its end and return what it returns; a signal ends it: SIGHUP 129, Ctrl-C 130, SIGTERM 143.

    `fast` runs it on uvloop, where that is installed: worth its import in long-lived processes only.
    """
    import asyncio

    class Loop(asyncio.SelectorEventLoop):
        async def shutdown_default_executor(self, timeout: float | None = None) -> None:
            """Wait for no thread: one may look up a name for long that nobody wants any more, and we end anyway."""

    with asyncio.Runner(loop_factory=uvloop_factory() if fast else Loop) as runner:
        return runner.run(_until_terminated(command()))


def uvloop_factory() -> Callable[[], Any] | None:
    """Return what makes uvloop's loops; None if it is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _run(session: Session, command: Any) -> int:
    result = command if iscoroutinefunction(command) else command()
    if isinstance(result, int):
        return result
    if callable(result):
        return _code(in_loop(lambda: _shown(session, result)), session)
    from aiki_cli.view.showing import show_at_once

    return _code(show_at_once(result, session.out), session)


async def _shown(session: Session, command: Later) -> End:
    from asyncio import CancelledError

    from aiki_cli.view.showing import show

    async with session.connections:
        try:
            return await show(await command(), session.out)
        except CancelledError:
            _leave_at_the_next()
            if session.on_interrupt is not None:
                await session.on_interrupt()
            raise


def _leave_at_the_next() -> None:
    """Have a second Ctrl-C end the process at once, whatever it still waits for; so does a second SIGTERM anyway."""
    if signal.getsignal(Signals.SIGINT) is not signal.SIG_IGN:
        signal.signal(Signals.SIGINT, lambda number, frame: end_at_once(Signals(number)))


def _code(end: End, session: Session) -> int:
    return end.code if end.error is None else failures.report(end.error, session.out.mode)


def _interrupted(session: Session, code: int) -> int:
    if session.note_on_interrupt:
        session.out.say(f"\n{session.note_on_interrupt}")
    return code


async def _until_terminated(command: Awaitable[T]) -> T:
    """Await `command`; SIGTERM and SIGHUP cancel it. A command with signal handlers of its own puts them over these."""
    import asyncio

    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    came: list[Signals] = []

    def stop(number: Signals) -> None:
        came.append(number)
        loop.call_soon_threadsafe(task.cancel)

    with obeying(stop, Signals.SIGTERM, Signals.SIGHUP):
        try:
            return await command
        except asyncio.CancelledError:
            if came:
                raise Terminated(came[0]) from None
            raise


def _single(error: Exception) -> Exception:
    """Return the one error inside task groups, if it is one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
