"""Own how a variable of the environment is read: what files and shells leave around a value is no part of it.

A line end stays behind where a file became a variable, a byte order mark where Windows wrote that file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_AROUND: Final = " \t\r\n\f\v\ufeff\u200b\u00a0"


def trimmed(text: str) -> str:
    """Return `text` without the white space and the byte order mark around it."""
    return text.strip(_AROUND)


def variable(environment: Mapping[str, str], name: str) -> str | None:
    """Return the value of the variable, trimmed; None if it is not set, or empty."""
    return trimmed(environment.get(name, "")) or None
