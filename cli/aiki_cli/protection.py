"""Own the question that a protected profile asks before a command changes something there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiki import UsageError
from aiki.core.addresses import shown

if TYPE_CHECKING:
    from aiki_cli.session import Session


def agree(session: Session, would: str, *, yes: bool) -> None:
    """Return if nothing is protected there, or somebody agrees: by --yes, or asked on a terminal.

    `would` says what is about to be done: "cancel runs". Raises UsageError if nobody does, and ConfigError as `where`.
    """
    where = session.where
    if yes or not where.protected or where.profile is None:
        return
    url, namespace = shown(where.url.value or "the default address"), where.namespace.value or "default"
    told = f"profile {where.profile.name} is protected: this would {would} at {url}, namespace {namespace}"
    if not session.out.agrees(f"{told}. Go on? [y/N] "):
        raise UsageError(f"{told}, and nobody has agreed", hint="the same again with --yes")
