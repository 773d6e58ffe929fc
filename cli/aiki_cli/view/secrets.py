"""Own that no command shows a secret: whatever was given to it is struck out of all that it says beside its result."""

from __future__ import annotations

import os
import sys

from aiki import ConfigError
from aiki.core.addresses import hide, holds_secret


def without_secrets(text: str) -> str:
    """Return `text` without the secrets of all addresses in it, and without any piece of those we were given."""
    variables = [value for name, value in os.environ.items() if name.startswith("AIKI_")]
    # Any of them may be an address in the wrong place; but `workflow@key` is none.
    given = [word for word in (*sys.argv[1:], *variables) if ":/" in word]
    return hide(text, *given, os.environ.get("AIKI_URL", ""))


def refuse_secret_flag(url: str | None) -> None:
    """Raise ConfigError if the address that a flag gives holds a password: nothing can hide it there."""
    if url is not None and holds_secret(url):
        raise ConfigError(
            "--url holds a password, which every user of this machine could read",
            hint="set AIKI_URL, or a `client: {url: ...}` in the manifest with ${VARIABLE} for the password",
        )
