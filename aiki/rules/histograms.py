"""Own how long many runs took, as a count for each of fixed logarithmic buckets: counts add up, and tell quantiles.

A bucket ends at 1.09 times of where it begins, so what is told of a quantile is at most 4.5 % from a run that took
that long. Under a millisecond all are alike. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

ERROR: Final = math.exp2(1 / 16) - 1
"""How far a quantile may be from the true one, as a part of that; of runs that took a millisecond or longer."""
_STEPS: Final = 8
"""Buckets from one power of two to the next."""
_LEAST: Final = 1_000
"""Microseconds up to which all is one bucket."""
MOST: Final = 320
"""The last bucket; 10 years are before it."""


def bucket(microseconds: int) -> int:
    """Return the bucket of what took so long."""
    if microseconds < _LEAST:
        return 0
    return min(MOST, 1 + math.floor(math.log2(microseconds / _LEAST) * _STEPS))


def middle(number: int) -> int:
    """Return how many microseconds stand for all of a bucket: those in the middle of it."""
    if number == 0:
        return _LEAST // 2
    return round(_LEAST * math.exp2((number - 0.5) / _STEPS))


def quantile(counts: Mapping[int, int], part: float) -> int | None:
    """Return the microseconds that so large a part of all took no longer than; None if there are none.

    It is the smallest that is enough, as far as the buckets tell.
    """
    total = sum(counts.values())
    rank = max(1, math.ceil(part * total))
    for number in sorted(counts):
        rank -= counts[number]
        if rank <= 0 < total:
            return middle(number)
    return None
