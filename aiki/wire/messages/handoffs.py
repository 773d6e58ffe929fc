"""Own the messages of parks and hand-overs: how a new run reaches a worker that has a slot for it, unasked.

They are pushes, not requests. Each may get lost: a Park costs speed then, a HandOver is repeated until it is heard of.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from aiki.wire.limits import DAEMONS, HANDED_RUNS, PARKED_ROUTES
from aiki.wire.messages.base import Text
from aiki.wire.messages.workers import Claimed

Number: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 53)]
"""Whoever sees an inbox can write there: no number is taken in that could not be sent on."""


class Park(Struct, omit_defaults=True):
    """A worker's word to every daemon: runs of these routes may be handed over to its session until then.

    `inbox` is where they are pushed, `until` a time of the database's clock. `serial` rises with each Park of a
    session. `free` is how many slots the worker has: the freer one gets a run.
    """

    session: Text
    inbox: Text
    serial: Number
    until: Number
    free: Number
    routes: Annotated[list[tuple[Text, Text]], Meta(max_length=PARKED_ROUTES)]
    leaves: Annotated[dict[Text, Number], Meta(max_length=DAEMONS)] = {}
    """For each line, the number up to which its hand-overs may count.

    A line is what one daemon hands over to one session; it has told its name. The numbers are absolute, so a Park that
    crosses a hand-over on its way promises nothing twice.
    """


class Parked(Struct, tag="parked"):
    """A daemon's answer to each Park.

    Hand-overs on this line have numbers up to `upto` at most, until a further Park allows more. Those up to `settled`
    have arrived, or never will.
    """

    line: Text
    serial: Number
    upto: Number
    settled: Number


class HandOver(Struct, tag="handed"):
    """Runs that were born running, and belong to the session.

    Their numbers on the line are `first` and those that follow. It is repeated until the worker says that it has come:
    by an empty message to its reply subject.
    """

    line: Text
    first: Number
    session: Text
    now: Number
    """The database's clock when they were born."""
    runs: Annotated[list[Claimed], Meta(max_length=HANDED_RUNS)]


Push = Parked | HandOver
"""What comes to the inbox of a Park."""
