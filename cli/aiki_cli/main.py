"""Own the entry point `aiki`: answer `--version` and TAB before anything is imported, else hand over to Typer.

From our first statement to the last Ctrl-C is an exit code, never a traceback: while nothing of the command runs it
ends the process at once, and so it does in a TAB. A command hears of it as of a KeyboardInterrupt.
"""

from __future__ import annotations

import gc
import os
import sys

# As `signal` has them, but for enums whose import Ctrl-C could still cut short.
from _signal import SIGINT, default_int_handler, getsignal, signal

from aiki_cli import __version__
from aiki_cli.again import hear_interrupts, start_again

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final, NoReturn

_RUN_USER_CODE: Final = frozenset({"worker", "dev"})
_GARBAGE_OBJECTS: Final = 100_000
"""So many are made before garbage is looked for: an import makes none, and is slowed down by each look."""
_INTERRUPTED: Final = 130
_UNWRITABLE: Final = 74


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    # Where it is ignored, as in the background of a script, it stays so.
    obeys = getsignal(SIGINT) is default_int_handler
    if obeys:
        signal(SIGINT, _end_at_once)
    hear_interrupts()
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.exit(_say_version())
    if arguments[:1] == ["__complete"]:
        _complete(arguments[1:])
    _speak_utf8()
    is_ours = _RUN_USER_CODE.isdisjoint(arguments)
    if is_ours:
        gc.set_threshold(_GARBAGE_OBJECTS)
    from aiki.process.environment import trim_variables
    from aiki.process.stderr import protect_stderr
    from aiki.process.stdout import protect_stdout

    protect_stderr()
    protect_stdout()
    trim_variables(os.environ)
    from aiki_cli.app import run

    try:
        if obeys:
            signal(SIGINT, default_int_handler)
        code = run(arguments)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    finally:
        if obeys:
            signal(SIGINT, _end_at_once)
    if is_ours:
        _leave(code)
    sys.exit(code)


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """End without another step, but for words that are on their way."""
    try:
        # It may be in the middle of its own import.
        say_last_words = getattr(sys.modules.get("aiki.process.stderr"), "say_last_words", None)
        if say_last_words is not None:
            say_last_words()
    finally:
        os._exit(_INTERRUPTED)


def _complete(arguments: list[str]) -> NoReturn:
    """Answer a TAB. Whatever goes wrong, a shell hears nothing of it."""
    try:
        from aiki_cli.tab.answer import answer

        answer(arguments)
    finally:
        os._exit(0)


def _say_version() -> int:
    """Say the version and return the exit code; past `sys.stdout`, which would fail once more at the end."""
    try:
        os.write(1, f"aiki {__version__}\n".encode())
    except BrokenPipeError:
        return 0
    except OSError as error:
        try:  # noqa: SIM105 - contextlib takes longer to import than this to run
            os.write(2, f"error: stdout could not be written ({error.strerror})\n".encode())
        except OSError:
            pass  # nobody is there
        return _UNWRITABLE
    return 0


def _speak_utf8() -> None:
    """Start once more in UTF-8 where Python takes arguments and file names for ASCII.

    It does so in the C locale if it was told not to help itself (PYTHONUTF8=0). Not a second time: an option may
    overrule the variable.
    """
    if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1":
        start_again(PYTHONUTF8="1")


def _leave(code: int) -> NoReturn:
    """End the process without the interpreter's clean-up, which is an eighth of a short command's time.

    Nothing waits for it: the connection is closed, and no thread of ours is left. Of users' code at most modules were
    imported: a thread that one of them began would hold us up for ever.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # it was closed before we began
                stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it has gone
    os._exit(code)
