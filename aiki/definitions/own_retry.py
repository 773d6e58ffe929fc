"""Own how people say that a workflow is tried again: by a `Retry`, whose errors are classes where it is declared."""

from __future__ import annotations

from typing import Any

from aiki.core.errors import UsageError
from aiki.core.retry import Retry
from aiki.wire.messages.own_retry import RetryFrom as RetryFrom
from aiki.wire.messages.own_retry import RetryRule


def checked_retry(retry: Any) -> Retry:
    """Return the Retry of a task or a workflow. Raises UsageError if it is none."""
    if not isinstance(retry, Retry):
        raise UsageError(f"retry={retry!r}: it must be a Retry", hint='Retry.jittered(max_attempts=3, base_delay="1s")')
    return retry


def checked_from(retry_from: Any) -> RetryFrom:
    """Return from where a workflow is tried again. Raises UsageError if it is none of the two places."""
    if retry_from == "failure":
        return "failure"
    if retry_from == "start":
        return "start"
    raise UsageError(f'retry_from={retry_from!r}: it must be "failure" or "start"')


def to_rule(retry: Retry) -> RetryRule:
    """Return the strategy as it travels: its classes of errors by their names."""
    return RetryRule(
        retry.kind,
        retry.max_attempts,
        retry.base_delay,
        retry.max_delay,
        retry.delays,
        tuple(map(name_of, retry.only_on)),
        tuple(map(name_of, retry.never_on)),
        retry.max_elapsed,
    )


def of_rule(rule: RetryRule) -> Retry:
    """Return the strategy without its errors, which only have names here."""
    return Retry(
        rule.kind,
        rule.max_attempts,
        rule.base_delay,
        rule.max_delay,
        rule.delays,
        max_elapsed=rule.max_elapsed,
    )


def name_of(error: type[BaseException]) -> str:
    """Return the name of a class of errors: Python's own have no module in front, nor have those of a script."""
    names = vars(type)
    name: str = names["__qualname__"].__get__(error)
    module = names["__module__"].__get__(error)
    return name if module in ("builtins", "__main__") or not isinstance(module, str) else f"{module}.{name}"
