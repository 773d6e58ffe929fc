"""Quantiles of logarithmic buckets are as near to the true ones as is said."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aiki.rules.histograms import ERROR, MOST, bucket, middle, quantile

YEARS = 10 * 366 * 86_400_000_000
times = st.one_of(st.integers(1_000, YEARS), st.integers(1_000, 60_000_000))


@given(st.lists(times, min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_a_quantile_is_within_the_error_of_the_true_one(taken: list[int], part: float) -> None:
    true = sorted(taken)[max(1, math.ceil(part * len(taken))) - 1]
    told = quantile(Counter(map(bucket, taken)), part)
    assert told is not None
    assert abs(told - true) <= ERROR * true + 1
    assert ERROR < 0.045


@given(st.lists(times, max_size=50), st.lists(times, max_size=50))
def test_counts_of_several_add_up(some: list[int], others: list[int]) -> None:
    together = Counter(map(bucket, some)) + Counter(map(bucket, others))
    assert quantile(together, 0.5) == quantile(Counter(map(bucket, some + others)), 0.5)


def test_buckets_begin_at_a_millisecond_and_end_behind_all_times() -> None:
    assert {bucket(one) for one in (-5, 0, 999)} == {0}
    assert bucket(1_000) == 1
    assert bucket(YEARS) < MOST == bucket(2**63)
    assert middle(0) == 500
    assert quantile({}, 0.5) is None
    assert quantile({0: 3}, 0.5) == 500
    numbers = [bucket(round(1_000 * 1.05**n)) for n in range(400)]
    assert numbers == sorted(numbers)
