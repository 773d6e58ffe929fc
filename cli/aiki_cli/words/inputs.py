"""Own what commands read: files that were named, and stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from aiki.core.encoding import NotUtf8, decode
from aiki_cli.failures import UnreadableInput
from aiki_cli.view.output import is_terminal


def stdin() -> IO[bytes]:
    """Return stdin. Raises UnreadableInput if it was closed when we began."""
    if sys.stdin is None:
        raise UnreadableInput("cannot read stdin (it is closed)", hint="name a file, or pipe something into it")
    return cast("IO[bytes]", sys.stdin.buffer)


def read_text(source: str) -> str:
    """Return what stands in a file, or with `-` what stdin brings. Raises UnreadableInput."""
    name = "stdin" if source == "-" else source
    try:
        raw = stdin().read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise UnreadableInput(f"cannot read {name} ({error.strerror})") from error
    try:
        return decode(raw)
    except NotUtf8 as error:
        raise UnreadableInput(f"{name}, line {error.line}: {error.reason}", hint=remedy(error, source)) from error


def payload_text(source: str, say: Callable[[str], None]) -> tuple[str, str]:
    """Return the JSON that `-p` names, and what to call it: the text itself, @FILE, or with `-` what stdin brings.

    A person at a terminal is told what is waited for. Raises UnreadableInput.
    """
    if source == "-":
        if is_terminal(sys.stdin):
            say("reading JSON from the terminal; Ctrl-D ends it")
        return read_text("-"), "stdin"
    return (read_text(source[1:]), source[1:]) if source.startswith("@") else (source, "the payload")


def remedy(error: NotUtf8, source: str) -> str | None:
    """Return how to make UTF-8 of a file; of stdin nobody knows where it came from."""
    return None if source == "-" else error.remedy(Path(source))
