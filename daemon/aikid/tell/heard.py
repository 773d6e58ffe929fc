"""Own the word that daemons pass on to each other, and who follows what at the others.

Who follows runs or namespaces stands in the memory of one daemon, which says so to the others again and again: what it
has not said for a while is forgotten, and so is a daemon that is gone. So nothing is passed on that nobody follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from aiki.wire import subjects
from aiki.wire.codec import encode
from aiki.wire.limits import BATCH_RUNS
from aikid.bus import Bus
from aikid.engine.changes import RunKey

FOLLOWED_SECONDS: Final = 15.0
"""For how long it holds that another daemon's followers want to hear; it is said each time that these are told."""
FOLLOWED_MAX: Final = 100_000
_NOBODY: Final = "-"
"""In a subject, in the place of a run: no run has this id."""


class Heard(msgspec.Struct, array_like=True):
    """What daemons tell each other of runs; `end` says that ends-only watchers care.

    They have changed; or they have `recorded` something and go on as before; or they are `followed` at the daemon that
    says it. Without runs it is about their namespace.
    """

    ids: list[str]
    end: bool = False
    word: Literal["changed", "recorded", "followed"] = "changed"


class Elsewhere:
    """Who is followed at other daemons."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._until: dict[RunKey, float] = {}
        """Until when runs are followed there, and namespaces: with no id."""

    def __len__(self) -> int:
        return len(self._until)

    def heard(self, namespace: str, ids: Sequence[str]) -> None:
        """Take note that another daemon has followers of these runs, or of the namespace."""
        until = asyncio.get_running_loop().time() + FOLLOWED_SECONDS
        for run_id in ids or ("",):
            key = namespace, run_id
            if key in self._until or len(self._until) < FOLLOWED_MAX:
                self._until[key] = until

    def say(self, namespace: str, run_id: str = "") -> None:
        """Have the others know that a run is followed here, or the namespace."""
        told = Heard([run_id] if run_id else [], word="followed")
        self._bus.push(subjects.news(namespace, run_id or _NOBODY), encode(told))

    def recorded(self, namespace: str, ids: Sequence[str]) -> None:
        """Pass on that runs have recorded something, to who follows them elsewhere."""
        if not self._until:
            return
        wanted = [run_id for run_id in ids if self._is_followed(namespace, run_id)]
        for start in range(0, len(wanted), BATCH_RUNS):
            some = wanted[start : start + BATCH_RUNS]
            self._bus.push(subjects.news(namespace, some[0]), encode(Heard(some, word="recorded")))

    def stirred(self, namespace: str) -> None:
        """Pass on that something has changed in the namespace, if that is followed elsewhere."""
        if self._is_followed(namespace, ""):
            self._bus.push(subjects.news(namespace, _NOBODY), encode(Heard([])))

    def follows(self, namespace: str) -> bool:
        """Tell whether the namespace is followed at another daemon."""
        return self._is_followed(namespace, "")

    def forget_expired(self) -> None:
        """Drop what nobody has said for long."""
        now = asyncio.get_running_loop().time()
        for key in [key for key, until in self._until.items() if until < now]:
            del self._until[key]

    def _is_followed(self, namespace: str, run_id: str) -> bool:
        until = self._until.get((namespace, run_id))
        return until is not None and until >= asyncio.get_running_loop().time()
