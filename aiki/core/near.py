"""Own the guess at a word that was meant: `process_order` for `process-order`, `complete` for `completed`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

MOST: Final = 1_000
CHARS: Final = 100
"""Of more or longer words none is looked at: they may be a stranger's, and a guess is worth no more time."""
_CLOSE: Final = 0.65


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that was meant, if one is close; `-`, `_`, spaces and case count for nothing."""
    from difflib import get_close_matches  # only who has erred pays for it

    by_form = {_form(name): name for name in islice(known, MOST) if len(name) <= CHARS}
    close = get_close_matches(_form(word[:CHARS]), by_form, 1, _CLOSE)
    return by_form[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return the question for the word that was meant, or `otherwise` if none is close."""
    meant = nearest(word, known)
    return otherwise if meant is None else f"did you mean {meant!r}?"


def _form(word: str) -> str:
    return word.casefold().translate(_APART)


_APART: Final = str.maketrans("", "", "-_ ")
