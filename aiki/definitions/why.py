"""Own what a reader is told of why a run does not move: `Why`, a sentence with the facts behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import to_builtins

from aiki.core import why as words
from aiki.core.moments import to_datetime
from aiki.core.reasons import Reason
from aiki.core.states import State
from aiki.wire.messages import Explained


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """One reason: `kind` is a word for programs, and `facts` are what it was made of."""

    kind: str
    sentence: str
    """What the run does for this reason, to follow its id."""
    since: datetime | None = None
    until: datetime | None = None
    run_id: str | None = None
    """Another run: the child that it waits for, or the holder of a key."""
    facts: Mapping[str, Any]
    """Its members by their names; times are microseconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a run does not move, at the time it was read."""

    run_id: str
    workflow: str
    version: str
    state: State
    sentence: str
    """What it waits for, since when, and on whom in the end: to follow its id."""
    reasons: Sequence[Because]
    """The main reason, and what is to be known beside that."""
    path: Sequence[str]
    """The ids of the runs that wait for one another, from this one to that in which it ends."""
    leaf: Sequence[Because] = ()
    """Why the last of these does not move, if it is another run."""
    hint: str | None = None
    """What to type so that it goes on; None if it does by itself."""

    @property
    def since(self) -> datetime | None:
        """Since when it stands so, where that is known."""
        return self.reasons[0].since if self.reasons else None


def from_wire(explained: Explained, now: int) -> Why:
    """Return the public form of what the wire says of a run."""
    path = explained.path or [explained.id]
    last = path[-1]
    return Why(
        run_id=explained.id,
        workflow=explained.workflow,
        version=explained.version,
        state=explained.state,
        sentence=sentence(explained, now),
        reasons=[_because(one, now) for one in explained.reasons],
        path=path,
        leaf=[_because(one, now) for one in explained.leaf],
        hint=_hint(explained.leaf or explained.reasons, last),
    )


def sentence(explained: Explained, now: int) -> str:
    """Return why the run does not move, in words to follow its id."""
    last = explained.path[-1] if explained.path else explained.id
    return words.whole(explained.reasons, explained.leaf, now, leaf_run=last)


def _because(reason: Reason, now: int) -> Because:
    return Because(
        kind=reason.kind,
        sentence=words.words(reason, now),
        since=None if reason.since is None else to_datetime(reason.since),
        until=None if reason.until is None else to_datetime(reason.until),
        run_id=reason.run,
        facts=to_builtins(reason),
    )


def _hint(reasons: Sequence[Reason], run_id: str) -> str | None:
    return next((said for one in reasons if (said := words.hint(one, run_id)) is not None), None)
