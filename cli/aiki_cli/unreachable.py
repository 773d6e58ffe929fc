"""Own what is said where Aiki cannot be reached: who says the address, how long it was tried, what may be done."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiki import Denied
from aiki_cli.where import KEY_NAMES, Source

if TYPE_CHECKING:
    from aiki import Unavailable
    from aiki_cli.where import Said, Where

_HERE: Final = {"127.0.0.1", "localhost", "::1"}
_ELSEWHERE: Final = "--url, AIKI_URL or --profile NAME leads elsewhere"
_WAIT: Final = "--start-timeout 30s waits for it"


def explain(error: Unavailable, where: Where, *, waited: str | None) -> None:
    """Note in `error` what a person needs who meets it; `waited` is for how long it was tried, if not once."""
    if isinstance(error, Denied):
        error.add_note(f"the address {_says(where.url)}")
        keys = [(name, where.key_file(name)) for name in KEY_NAMES]
        for name, said in [(name, said) for name, said in keys if said.value]:
            error.add_note(f"{name} is {said.value}: it {_says(said)}")
        return
    tried = f"tried for {waited}" if waited else "tried once"
    error.add_note(f"{tried}; the address {_says(where.url)}")
    has_no_daemon = "namespace" in error.message
    if has_no_daemon:
        error.add_note(f"the namespace {_says(where.namespace)}")
    # Where somebody else listens, nothing could be started.
    may_start = _is_here(where.url.value) and (has_no_daemon or os.strerror(errno.ECONNREFUSED) in error.message)
    ways = _ELSEWHERE if waited else f"{_ELSEWHERE}; {_WAIT}"
    error.command = f"start one: aiki dev   ({ways})" if may_start else ways


def _says(said: Said) -> str:
    return "is the default: nothing says another" if said.source is Source.DEFAULT else f"comes from {said.origin}"


def _is_here(url: str | None) -> bool:
    """Tell whether the address is one of this machine, where `aiki dev` would serve."""
    with suppress(ValueError):
        return url is None or urlsplit(url if "://" in url else f"//{url}").hostname in _HERE
    return False
