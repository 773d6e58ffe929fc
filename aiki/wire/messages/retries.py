"""Own what a retry leaves in a journal."""

from __future__ import annotations

from msgspec import Struct


class Retried(Struct, omit_defaults=True):
    """The value of an entry `retry:ATTEMPT`: what a journal says from the cut on up to this entry counts no more.

    `cut` is how many of the entries that counted before stay; the call whose entry was the next, `key`, is made anew.
    """

    cut: int
    attempt: int
    """That begins with it; all before it was of the one before, or of those that earlier retries began."""
    at: int
    idle: int = 0
    """Microseconds between what stood at the cut, or the last entry before it, and the retry."""
    key: str = ""
    run_id: str = ""
    """The run that goes on with it: a new one if a person has ordered it."""
    of: str = ""
    """The run that it is a retry of."""
    keep: list[str] = []
    """Tasks whose results are kept that were asked for behind the cut."""
