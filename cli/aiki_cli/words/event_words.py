"""Own how the words of `aiki event send` are told apart: runs, the event's name, members of its value. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from aiki import UsageError
from aiki_cli.words import payload
from aiki_cli.words.references import is_reference


@dataclass(frozen=True)
class EventWords:
    """What was typed."""

    references: Sequence[str]
    name: str
    pairs: Sequence[str]

    def value(self, base: object) -> object:
        """Return the event's value: `base` with the pairs set in it. Raises UsageError if it cannot hold them."""
        if not self.pairs:
            return base
        if base is not None and not isinstance(base, dict):
            raise UsageError(f"{self.pairs[0]!r} is a member of an object, and the payload is none")
        return payload.with_pairs(base or {}, self.pairs)


def event_words(words: Sequence[str]) -> EventWords:
    """Return the words by what they are. Raises UsageError if no event is named.

    A reference to a run may hold `=`, in a key; the name of an event never does, and pairs always do.
    """
    place = max((place for place, word in enumerate(words) if "=" not in word), default=None)
    if place is None:
        raise UsageError("no event is named", hint="aiki event send RUN NAME")
    if is_reference(words[place]):
        raise UsageError("no event is named", hint=f"aiki event send {shlex.join(words[: place + 1])} NAME")
    return EventWords(words[:place], words[place], words[place + 1 :])
