"""Own the making of run ids: UUIDv7 that grow within a process, so that a batch keeps its order."""

import secrets
import time
from typing import Final

from aiki.core.ids import RunId, uuid7

_STEP_BITS: Final = 32


class RunIds:
    """A source of ids. Within a millisecond the random part grows by random steps (RFC 9562, section 6.2, method 2)."""

    def __init__(self) -> None:
        self._milliseconds = 0
        self._random = 0

    def next(self) -> RunId:
        """Return an id that is greater than every earlier one of this source."""
        now = time.time_ns() // 1_000_000
        if now > self._milliseconds:
            self._milliseconds = now
            # The top bit stays free, so that 2**40 steps fit before the counter could wrap.
            self._random = secrets.randbits(73)
        else:
            self._random += 1 + secrets.randbits(_STEP_BITS)
        return RunId(str(uuid7(milliseconds=self._milliseconds, random_bits=self._random)))
