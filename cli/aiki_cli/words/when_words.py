"""Own how the flags of `aiki schedule` become the words by which the SDK says when a schedule fires. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from aiki import UsageError
from aiki_cli.words.times import moment_of

NOTHING: Final = "none"
"""What is typed to take back what was said before."""
_TIMES: Final = ("at", "anchor", "start", "end")
_WORD: Final = re.compile(r'(?P<name>[a-z_]+)=(?P<value>".*")')


def when_words(**typed: str | None) -> dict[str, Any]:
    """Return what was typed by the SDK's names; what was not is left out. Raises UsageError for a time that is none."""
    return {name: _read(name, text) for name, text in typed.items() if text is not None}


@contextmanager
def in_flags() -> Iterator[None]:
    """Have the hints of errors say flags where they say keywords."""
    try:
        yield
    except UsageError as error:
        if error.command is None and error.hint and (match := _WORD.fullmatch(error.hint)):
            error.command = f"--{match['name'].replace('_', '-')} {match['value']}"
        raise


def _read(name: str, text: str) -> str | datetime | None:
    if text == NOTHING and name != "catch_up":
        return None
    return moment_of(text, f"--{name}") if name in _TIMES else text
