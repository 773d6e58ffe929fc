"""What is said of a run's own retry, as a client may have written it."""

from __future__ import annotations

import math

import pytest

from aiki.core.errors import UsageError
from aiki.wire.messages.own_retry import OwnRetry, RetryRule, check_own_retry

GOOD = RetryRule("fixed", 3, 1.0, 1.0)


@pytest.mark.parametrize(
    "rule",
    [
        GOOD,
        RetryRule("delays", 1),
        RetryRule("delays", 3, delays=(0.0, 60.0)),
        RetryRule("jittered", 1_000_000_000, 1.0, 3600.0, max_elapsed=86_400.0),
    ],
)
def test_a_rule_in_order_is_taken(rule: RetryRule) -> None:
    check_own_retry(OwnRetry(rule, "start"))
    check_own_retry(OwnRetry(None, "failure"))


@pytest.mark.parametrize(
    "rule",
    [
        RetryRule("fixed", 0),
        RetryRule("fixed", -1),
        RetryRule("fixed", 1 << 62),
        RetryRule("fixed", 3, -1.0),
        RetryRule("fixed", 3, math.nan),
        RetryRule("fixed", 3, 1.0, math.inf),
        RetryRule("fixed", 3, 1.0, 1e300),
        RetryRule("fixed", 3, max_elapsed=-1.0),
        RetryRule("delays", 3, delays=(1.0,)),
        RetryRule("delays", 3, delays=(1.0, -1.0)),
        RetryRule("fixed", 3, only_on=("x" * 1_000,) * 3),
        RetryRule("delays", 900, delays=(1.5,) * 899),
    ],
    ids=lambda rule: repr(rule)[:60],
)
def test_a_rule_that_cannot_be_carried_out_is_refused(rule: RetryRule) -> None:
    with pytest.raises(UsageError, match="`retry`"):
        check_own_retry(OwnRetry(rule))
