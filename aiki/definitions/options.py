"""Own how people give the options of a run: by keyword and in their own types, on top of those that are set already.

What options a run has, and the rule for each, stands in `wire.messages.options`, where the daemon finds it too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, Self, get_args

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.duration import Duration, to_microseconds
from aiki.core.errors import UsageError
from aiki.core.moments import to_wire
from aiki.core.retry import Retry
from aiki.definitions.own_retry import RetryFrom, checked_from, checked_retry, to_rule
from aiki.inside.event import BoundEvent
from aiki.wire.messages.options import HIGHEST_PRIORITY as HIGHEST_PRIORITY
from aiki.wire.messages.options import NO_OPTIONS as NO_OPTIONS
from aiki.wire.messages.options import FirstEvent, check_key
from aiki.wire.messages.options import OnConflict as OnConflict
from aiki.wire.messages.options import ParentClose as ParentClose
from aiki.wire.messages.options import RunOptions as RunOptions
from aiki.wire.messages.options import check_options as check_options
from aiki.wire.messages.own_retry import OwnRetry
from aiki.wire.subjects import is_version

UNCHANGED: Final[Any] = object()


class HasOptions(ABC):
    """What is enqueued with options: a workflow, or a call by name."""

    __slots__ = ()
    run_options: RunOptions
    """The options that are set."""

    def options(
        self,
        *,
        idempotency_key: str | None = UNCHANGED,
        on_conflict: OnConflict = UNCHANGED,
        priority: int = UNCHANGED,
        labels: Mapping[str, str] = UNCHANGED,
        delay: Duration | None = UNCHANGED,
        start_at: datetime | None = UNCHANGED,
        timeout: Duration | None = UNCHANGED,
        cancel_timeout: Duration | None = UNCHANGED,
        version: str = UNCHANGED,
        send: BoundEvent[Any] | None = UNCHANGED,
        parent_close: ParentClose = UNCHANGED,
        retry: Retry | None = UNCHANGED,
        retry_from: RetryFrom | None = UNCHANGED,
    ) -> Self:
        """Return the same with the options of its next runs set.

        With an `idempotency_key`, enqueueing again with the same input gives the same run; another input is a Conflict,
        or with `on_conflict="existing"` gives the first run all the same. With "retry_failed" a run that has failed is
        retried, and with "restart" one that has ended in whichever way gives its key up to a new run. `priority` is
        -100 to 100, higher is claimed first. `delay` and the aware datetime `start_at` exclude each other. Raises
        UsageError on other values.

        Within `timeout` of when it may start a run must end, whether a worker runs it or not; else it fails with
        RunTimedOut. One that has begun is told so, and may take `cancel_timeout` to take back what it did; if that is
        not given, as long as it needs, but 5 minutes if no worker hears of it. A cancel bounds it alike: with a
        `cancel_timeout` a run that has not ended by itself so long after is cancelled without its code.

        With `retry` the workflow itself is tried again when its body fails, by the strategies of tasks; `retry_from`
        says whether from what failed it (`"failure"`) or from its beginning (`"start"`), where tasks that have
        completed are done again. `only_on` and `never_on` go by the names of the classes. None takes back what was set.

        With `send=event.bind(value)` the run is sent that event in the same commit, be it new or found by its key; if
        it has ended, RunEnded is raised.

        `parent_close` is for what a body starts: when that ends the child is cancelled, goes on ("abandon"), or is
        waited for before ("wait").
        """
        if parent_close is not UNCHANGED and parent_close not in get_args(ParentClose):
            raise UsageError(f'parent_close={parent_close!r}: it must be "cancel", "abandon" or "wait"')
        given = {
            "key": idempotency_key,
            "on_conflict": on_conflict,
            "priority": priority,
            "labels": labels,
            "delay": delay,
            "start_at": start_at,
            "timeout": timeout,
            "cancel_timeout": cancel_timeout,
            "send": send,
        }
        changes = {name: _as_stored(name, value) for name, value in given.items() if value is not UNCHANGED}
        if not (retry is UNCHANGED and retry_from is UNCHANGED):
            changes["retry"] = _own_retry(self.run_options.retry, retry, retry_from)
        made = replace(self.run_options, **changes)
        check_options(made)
        return self._with(made, version, parent_close)

    @abstractmethod
    def _with(self, options: RunOptions, version: str, parent_close: ParentClose) -> Self:
        """Return the same with these options, and the others unless they are UNCHANGED."""


def timeouts(timeout: Duration | None, cancel_timeout: Duration | None) -> RunOptions:
    """Return the options that a definition gives to all its runs. Raises UsageError."""
    if timeout is None and cancel_timeout is None:
        return NO_OPTIONS
    made = RunOptions(
        timeout=_as_stored("timeout", timeout), cancel_timeout=_as_stored("cancel_timeout", cancel_timeout)
    )
    check_options(made)
    return made


def checked_key(key: Any) -> str | None:
    """Return the idempotency key of a run or a task. Raises UsageError if it is none and not None."""
    if key is None:
        return None
    check_key(key)
    made: str = key
    return made


def checked_version(name: str, version: Any) -> str:
    """Return the version of a workflow. Raises UsageError if it is none."""
    if not isinstance(version, str) or not is_version(version):
        raise UsageError(f"workflow {name!r}: version={version!r} must be text, 1 to 32 of A-Z a-z 0-9 _ . + -")
    return version


def _own_retry(set_before: OwnRetry | None, retry: Retry | None, retry_from: RetryFrom | None) -> OwnRetry | None:
    before = set_before or OwnRetry()
    rule = before.rule if retry is UNCHANGED else None if retry is None else to_rule(checked_retry(retry))
    since = before.since if retry_from is UNCHANGED else None if retry_from is None else checked_from(retry_from)
    return None if rule is None and since is None else OwnRetry(rule, since)


def _as_stored(name: str, value: Any) -> Any:
    read = _READ.get(name)
    return value if read is None or value is None else read(value)


def _first(event: Any) -> Any:
    return FirstEvent(event.event.name, Raw(event.encoded)) if isinstance(event, BoundEvent) else event


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "labels": dict,
    "delay": to_microseconds,
    "timeout": to_microseconds,
    "cancel_timeout": to_microseconds,
    "start_at": partial(to_wire, what="start_at"),
    "send": _first,
}
"""How those are read that people do not give as they are stored."""
