"""Own the words between whoever has runs replayed and the processes that do: recordings there, verdicts back."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from aiki.core.frames import Place
from aiki.replay.recording import Recording
from aiki.replay.verdicts import Finding, Verdict
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import Arrival, Attempt, Entry
from aiki.wire.messages.exports import Exported

LENGTH: Final = struct.Struct(">I")
"""What stands before each word: how many bytes it has."""


class Setup(Struct):
    """The first word to a process: where to find the code at hand, and how long a run may take."""

    modules: list[str]
    folders: list[str]
    as_version: str | None
    run_seconds: float


class Ready(Struct, tag=True):
    """The first word of a process: it has imported what it could. Each module that it could not, and why."""

    failures: list[tuple[str, str]]


class Stuck(Struct, tag=True):
    """A run has taken too long, and still does, at this place of a user's code, if it is there."""

    place: Place | None


class Judged(Struct, tag=True):
    """What was found of the run that came first of those not answered."""

    finding: Finding
    as_version: str
    why: str
    entry: int | None
    recorded: str | None
    asked: str | None
    place: Place | None
    diff: str

    @classmethod
    def of(cls, verdict: Verdict) -> Judged:
        """Return what is said of a run whose name its asker knows."""
        of = verdict
        return cls(of.finding, of.as_version, of.why, of.entry, of.recorded, of.asked, of.place, of.diff)


class _Parcel(Struct, array_like=True):
    exported: Exported
    entries: list[Entry]
    tries: list[Attempt]
    ends: list[Arrival]
    unread: list[Arrival]


Answer = Ready | Stuck | Judged


def packed(recording: Recording) -> bytes:
    """Return a recording as a word; its story stays here."""
    parcel = _Parcel(recording.exported, recording.entries, recording.tries, recording.ends, recording.unread)
    return encode(parcel)


def unpacked(word: bytes) -> Recording:
    """Return the recording that a word holds."""
    parcel: _Parcel = decoder(_Parcel).decode(word)
    return Recording(parcel.exported, parcel.entries, parcel.tries, parcel.ends, parcel.unread)


def framed(word: bytes) -> bytes:
    """Return a word with its length."""
    return LENGTH.pack(len(word)) + word


def read_setup(word: bytes) -> Setup:
    """Return the first word to a process."""
    setup: Setup = decoder(Setup).decode(word)
    return setup


def read_answer(word: bytes) -> Answer:
    """Return what a process says."""
    answer: Answer = decoder(Answer).decode(word)
    return answer
