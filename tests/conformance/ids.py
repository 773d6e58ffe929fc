"""Own the ids that clients make in plays: the same on each engine, and for each of those who make some at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from random import Random
from typing import Final
from uuid import UUID

import pytest

from aiki.client import schedules
from aiki.client.run_ids import RunIds
from aiki.core.ids import RunId, uuid7
from tests.conformance.clock import EPOCH

_BITS: Final = 74
who: Final[ContextVar[str]] = ContextVar("who")
"""Who makes ids: a scenario, or one of the histories that are played at once."""


class Uuids:
    """What the ids of schedules are made from, in place of the module."""

    def __init__(self, name: str) -> None:
        self._random = Random(name)

    def uuid4(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


@contextmanager
def made_by(name: str) -> Iterator[None]:
    """Have clients make the ids that are this player's; they grow."""
    made: Counter[str] = Counter()

    def next_id(_: RunIds) -> RunId:
        player = who.get(name)
        made[player] += 1
        digest = blake2b(f"{player} {made[player]}".encode()).digest()
        bits = int.from_bytes(digest) % (1 << _BITS)
        return RunId(str(uuid7(milliseconds=EPOCH // 1000 + made[player], random_bits=bits)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunIds, "next", next_id)
        patch.setattr(schedules, "uuid", Uuids(name))
        yield
