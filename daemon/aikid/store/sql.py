"""Own the fragments that several statements share."""

from collections.abc import Iterable
from typing import Final

from aiki.core.states import Move, State, sources
from aiki.wire import messages

UNDER_WAY: Final = f"'{bytes(messages.UNDER_WAY).decode()}'"
"""What stands for the error of a try of which no more is known than what it has said."""
MICROSECONDS: Final = "(extract(epoch FROM {}) * 1000000)::bigint"
"""A timestamptz as the wire has it; exact, since `extract` returns numeric."""

LENGTH: Final = """
coalesce((SELECT max(j.seq) FROM aiki.journal j WHERE j.run_id = {0}.id AND j.generation = {0}.generation), 0)
""".strip()
"""How many entries a run's journal holds, of the generation that it is in. The end of a range of the primary key."""


SINCE: Final = """
CASE WHEN {0}.starts_at IS NULL THEN {0}.created_at ELSE least({0}.starts_at, {0}.started_at, aiki.now()) END
""".strip()
"""Since when a run that ends now has been under way: its creation, or when it was to start, if it did not before."""


def counting(words: str, number: str) -> str:
    """Return our own words with `number`, a column, in the place of `{}`."""
    before, after = (part.replace("'", "''") for part in words.split("{}"))
    return f"'{before}' || {number} || '{after}'"


def quoted(words: Iterable[str]) -> str:
    """Return our own words (states, events) as the inside of an IN list."""
    return ", ".join(f"'{word}'" for word in sorted(words))


LIFE: Final = f"CASE WHEN r.imported IS NULL THEN r.state ELSE '{State.COMPLETED}' END"
"""A run's state as far as it may still go on: one that was imported does not, whatever it was."""
MOVABLE: Final = "r.imported IS NULL"
"""Of a run that is to be changed: whoever was imported is passed over, as if there were none."""
PAUSABLE: Final = quoted(sources(Move.PAUSE))
"""The states in which a run is at rest that is to be paused when its claim ends, as the inside of an IN list."""
