"""Own what is said of a run's own retry: when its workflow is tried again after a failure, and from where.

Its classes of errors are names here, since a process that enqueues need not have the worker's code.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from aiki.core.duration import LONGEST
from aiki.core.errors import UsageError
from aiki.core.retry import Kind
from aiki.wire.codec import encode
from aiki.wire.limits import LIST_ITEMS, RETRY_BYTES
from aiki.wire.messages.base import Text

RetryFrom: TypeAlias = Literal["failure", "start"]
"""From where a workflow is tried again: from what failed it, or from its beginning, in a new generation."""
_LONGEST_SECONDS: Final = LONGEST / 1e6
_MOST_ATTEMPTS: Final = 1_000_000_000

_Names: TypeAlias = Annotated[tuple[Text, ...], Meta(max_length=LIST_ITEMS)]


class RetryRule(Struct, frozen=True, omit_defaults=True):
    """A strategy of `aiki.core.retry`, with classes of errors by their names; times in seconds."""

    kind: Kind
    max_attempts: int
    base_delay: float = 0.0
    max_delay: float = 0.0
    delays: Annotated[tuple[float, ...], Meta(max_length=LIST_ITEMS)] = ()
    only_on: _Names = ()
    never_on: _Names = ()
    max_elapsed: float | None = None


class OwnRetry(Struct, frozen=True, omit_defaults=True):
    """What is said of one run; what is not said here is as its workflow has it."""

    rule: RetryRule | None = None
    since: RetryFrom | None = None


def check_own_retry(retry: OwnRetry) -> None:
    """Raise UsageError if a run cannot be tried again so."""
    if retry.since not in (None, "failure", "start"):
        raise UsageError(f'retry_from={str(retry.since)[:60]!r}: it must be "failure" or "start"')
    if retry.rule is None:
        return
    if len(encode(retry)) > RETRY_BYTES:
        raise UsageError(f"`retry` has more than {RETRY_BYTES:,} bytes: name fewer errors and delays")
    if not _makes_sense(retry.rule):
        raise UsageError("`retry` makes no sense: its attempts or delays are out of range, or not as many as they say")


def _makes_sense(rule: RetryRule) -> bool:
    if not 1 <= rule.max_attempts <= _MOST_ATTEMPTS:
        return False
    if rule.kind == "delays" and len(rule.delays) < rule.max_attempts - 1:
        return False
    return all(map(_is_span, (rule.base_delay, rule.max_delay, rule.max_elapsed or 0.0, *rule.delays)))


def _is_span(seconds: Any) -> bool:
    return math.isfinite(seconds) and 0 <= seconds <= _LONGEST_SECONDS
