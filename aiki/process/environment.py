"""Own what surrounds the values of our variables: line ends, white space and byte order marks are no part of them.

`AIKI_NAMESPACE=$(cat file)` has none, but a secret that becomes a variable, an `--env-file` and a value written by
Windows do. It is taken away once, at the start of a process, so that its children do not meet it either.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

_PREFIX: Final = "AIKI_"
_AROUND: Final = " \t\r\n\f\v\ufeff\xa0\u200b"


def trim_variables(environment: MutableMapping[str, str]) -> None:
    """Take what surrounds the values of AIKI_* variables away."""
    for name, value in list(environment.items()):
        if name.startswith(_PREFIX) and value != (trimmed := value.strip(_AROUND)):
            environment[name] = trimmed
