"""Own the messages of task keys across runs: what a claim wants of one, in its unit, and what it is told."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from aiki.wire.limits import KEY_CHARS
from aiki.wire.messages.base import NULL, Text


class KeyAsk(Struct, array_like=True):
    """What a call of a task wants of an idempotency key that other runs may use, too.

    `own` asks for it before the first try; it may be asked again. `done` comes with the entry of its call in the same
    unit, whose result is from then on that of the key; `free` gives it back; `left` does so too, but a try that could
    not be stopped may still run in this session: until that has ended nobody else gets it.
    """

    call: Text
    """The key of the call in the run's journal."""
    scope: Text
    """The workflow whose runs share it; empty for all of the namespace."""
    task: Text
    key: Annotated[str, Meta(max_length=KEY_CHARS)]
    digest: Text
    """blake2b-128 of the call's input in canonical form, in hex."""
    want: Literal["own", "done", "free", "left"] = "own"
    keep: Annotated[int, Meta(ge=0)] = 0
    """Of `done`: for how many microseconds its result stands."""


class KeyAnswer(Struct, array_like=True):
    """What became of a `KeyAsk`.

    `won`: the call may be tried. `waits`: run `holder` has it, and an arrival of the kind `key` with the call for its
    name says when to ask again. `settled`: `value` is its result, to which `holder` has come. `conflict`: it stands for
    another input, in `holder`. `taken`: what was wanted has been done.
    """

    result: Literal["won", "waits", "settled", "conflict", "taken"]
    holder: str | None = None
    value: Raw = NULL
    since: int = 0
    """Of `won` and `waits`: since when its owner has it, in microseconds."""
