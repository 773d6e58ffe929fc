"""Own who has a task's idempotency key that other runs may use, and what becomes of whoever asks for it. Pure.

A key that is done stands for its result until that expires. Any other is *held* as long as a try of it may run:

- by its owner, which has asked for it in the claim that it is in, or rests in by its own word, until it gives it back;
- by a session in which its owner has left a try that could not be stopped, until that session has ended.

So no statement that ends a claim knows of keys: one that makes a run queued, paused or blocked, or ends it, frees what
the run had, since its state says so; a new claim asks again for what it still wants. Who has a key is judged when
somebody wants to know. An owner that is queued, be it for a moment since its retry is due, tries nothing: whoever asks
first has the key then, and where no worker serves the owner nobody waits for it in vain. A run that a person ends by
force is told of that a moment later: a try of it is cut off inside then, as promise P3 has it.

Nobody holds a key and waits for another one with it: what has a key is a call whose task is tried at once, and what
waits for a key is a call that has none. A run may have both, and still no circle holds: each owner's try ends without
anybody else. So no search for a deadlock is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from aiki.core.errors import PayloadError
from aiki.core.states import TERMINAL, State
from aiki.rules.checking import is_digest, is_text
from aiki.wire.limits import KEY_CHARS, KEY_SECONDS, TEXT_CHARS
from aiki.wire.messages import KeyAsk, Recorded, Unit
from aiki.wire.subjects import is_token

HOLDING: Final = frozenset({State.RUNNING, State.SLEEPING, State.WAITING, State.RETRYING})
"""States in which a run goes on by itself with what it has begun."""
ASKING: Final = frozenset(State) - TERMINAL - {State.PAUSED, State.BLOCKED}
"""States in which a run that is told of a key will ask for it."""
TOLD: Final = 100
"""Who is told of keys in one commit, at most."""
TURN_SECONDS: Final = 5.0
"""So long whoever was told that a key is free has to ask for it, before the next one is told, too."""
FOREIGN_SCOPE: Final = "a task's key is for the runs of its own workflow, or of all: not for those of workflow {!r}"
Stand: TypeAlias = Literal["free", "held", "done"]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """Who has a key, or has come to its result. Times in microseconds since 1970."""

    run_id: str
    generation: int
    epoch: int
    """Of the claim in which its owner has asked for it last."""
    call: str
    digest: str
    at: int
    """Since when its owner has it."""
    session_id: str | None = None
    """In which a try may still run that its owner has left."""
    done_at: int | None = None
    expires_at: int = 0
    """Of one that is done."""


@dataclass(frozen=True, slots=True)
class Owner:
    """How the run stands that a key's row names."""

    generation: int
    epoch: int | None
    """Of its last claim; None if that was taken from its worker."""
    state: State


@dataclass(frozen=True, slots=True)
class Asker:
    """By which claim of which run something is wanted of a key."""

    run_id: str
    generation: int
    epoch: int
    session_id: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an ask. `foreign` is said of who gives what it does not have: then its unit is not written."""

    result: Literal["won", "waits", "settled", "conflict", "taken", "foreign"]
    row: KeyRow | None
    """Afterwards; None if nobody has the key any more."""

    @property
    def holder(self) -> str | None:
        """The run to name to who has not got the key."""
        return self.row.run_id if self.row and self.result in ("waits", "settled", "conflict") else None


def check(unit: Unit) -> None:
    """Raise PayloadError if what a unit wants of keys cannot be. What `check_unit` looks at is not looked at here."""
    results = {entry.key for entry in unit.entries if entry.ok}
    for ask in unit.keys:
        _check_ask(ask)
        if ask.want == "own" and unit.end is not None:
            raise PayloadError("a unit asks for a task's key, and gives up the claim in which that could be used")
        if ask.want == "done" and ask.call not in results:
            raise PayloadError(f"a unit ends the task's key {ask.key!r} without the result of its call")
    if len({(ask.scope, ask.task, ask.key) for ask in unit.keys}) < len(unit.keys):
        raise PayloadError("a unit wants two things of one key of a task")


def _check_ask(ask: KeyAsk) -> None:
    if not is_token(ask.task) or not (ask.scope == "" or is_token(ask.scope)):
        raise PayloadError("a task's key names its task, and the workflow whose runs share it or none: tokens")
    if not is_text(ask.key, chars=KEY_CHARS) or not is_text(ask.call, chars=TEXT_CHARS):
        raise PayloadError(f"a task's key must be 1 to {KEY_CHARS} characters, and its call one of the journal's keys")
    if not is_digest(ask.digest):
        raise PayloadError("a task's key needs the digest of the input: 32 hexadecimal digits")
    if ask.keep > KEY_SECONDS * 1_000_000:
        raise PayloadError(f"the result of a task's key is kept for {KEY_SECONDS // 86_400:,} days at most")


def in_foreign_scope(unit: Unit, workflow: str) -> Recorded | None:
    """Return what is said of a unit that wants keys of another workflow than its run's; None if it does not."""
    for ask in unit.keys:
        if ask.scope not in ("", workflow):
            return Recorded("refused", FOREIGN_SCOPE.format(ask.scope))
    return None


def to_tell(how: Stand, *, told_at: int | None, now: int) -> int:
    """Return how many of those who wait for a key are to be told of it now; `told_at` is when the last one was told.

    Of one that is done all are, TOLD at a time; of one that is free the first in line, and the next one if that has
    not asked within TURN_SECONDS. Each is told once, until it has asked.
    """
    if how == "done":
        return TOLD
    is_due = told_at is None or now - told_at >= TURN_SECONDS * 1_000_000
    return 1 if how == "free" and is_due else 0


def stand(row: KeyRow | None, owner: Owner | None, *, left_lives: bool, now: int) -> Stand:
    """Return how a key stands; `owner` is None if its run is gone, `left_lives` that of the session it was left in."""
    if row is None:
        return "free"
    if row.done_at is not None:
        return "done" if now < row.expires_at else "free"
    if row.session_id is not None:
        return "held" if left_lives else "free"
    is_its = owner is not None and (owner.generation, owner.epoch) == (row.generation, row.epoch)
    return "held" if is_its and owner is not None and owner.state in HOLDING else "free"


def judge(row: KeyRow | None, owner: Owner | None, ask: KeyAsk, asker: Asker, *, left_lives: bool, now: int) -> Verdict:
    """Return what becomes of an ask of a claim that holds its run.

    A key that is free is won with any input, since whoever had it before has come to nothing.
    """
    if ask.want == "own":
        return _own(row, stand(row, owner, left_lives=left_lives, now=now), ask, asker, now)
    mine = row is not None and row.done_at is None and _is_of(row, asker)
    if ask.want == "free":
        # A later claim that gives up its wait for what it has left itself does not end that.
        is_over = mine and row is not None and row.session_id in (None, asker.session_id)
        return Verdict("taken", None if is_over else row)
    if row is None or not mine or row.epoch != asker.epoch or row.session_id is not None:
        return Verdict("foreign", row)
    if ask.want == "left":
        return Verdict("taken", replace(row, session_id=asker.session_id))
    if (row.call, row.digest) != (ask.call, ask.digest):
        return Verdict("foreign", row)
    return Verdict("taken", replace(row, done_at=now, expires_at=now + ask.keep))


def _own(row: KeyRow | None, how: Stand, ask: KeyAsk, asker: Asker, now: int) -> Verdict:
    # It has the key: the reply to its first ask was lost, or it was claimed again. Of a try that was left that very
    # claim alone knows when it has ended.
    is_left = row is not None and row.session_id is not None and row.epoch != asker.epoch
    has_it = row is not None and row.done_at is None and _is_of(row, asker) and not is_left
    if row is None or how == "free" or has_it:
        at = row.at if row is not None and has_it else now
        return Verdict("won", KeyRow(asker.run_id, asker.generation, asker.epoch, ask.call, ask.digest, at))
    if row.digest != ask.digest:
        return Verdict("conflict", row)
    return Verdict("settled" if how == "done" else "waits", row)


def _is_of(row: KeyRow, asker: Asker) -> bool:
    return (row.run_id, row.generation) == (asker.run_id, asker.generation)
