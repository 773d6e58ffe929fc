"""Own what a person says of a retry: from where it goes on, and what of that is done again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from aiki.core.errors import UsageError
from aiki.wire.messages import NONE, NewRun, Retry
from aiki.wire.subjects import is_token


@runtime_checkable
class Bound(Protocol):
    """A workflow with its arguments: a call."""

    workflow: str

    def to_new_run(self, run_id: str) -> NewRun:
        """Return the request to enqueue it as the run `run_id`."""
        ...


@dataclass(frozen=True, slots=True)
class RetryOrder:
    """The order of a retry, of whichever run: from where it failed, from a task or the start, or with another input."""

    from_task: str | None = None
    from_start: bool = False
    input: Bound | Mapping[str, Any] | None = None
    """As a call of its workflow, or as the payload of one."""
    keep: Sequence[str] = ()
    again: Sequence[str] = ()
    force: bool = False
    actor: str | None = None

    @classmethod
    def of(
        cls,
        *,
        from_task: str | None = None,
        from_start: bool = False,
        input: Bound | Mapping[str, Any] | None = None,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
        actor: str | None = None,
    ) -> RetryOrder:
        """Return what is said. Raises UsageError if that is two things at once, or names no task."""
        if sum((from_task is not None, from_start, input is not None)) > 1:
            raise UsageError("a retry goes on from a task, or from the start, or with another input: say one of them")
        if not isinstance(input, Bound | Mapping | None):
            raise UsageError(f"input={input!r:.60}: it must be a workflow's call", hint="input=process_order.bind(...)")
        if from_task is not None:
            _names(from_task, "from_task")
        return cls(from_task, from_start, input, _names(keep, "keep"), _names(again, "again"), force, actor)

    def to(self, run_ids: Sequence[str], *, actor: str) -> Retry:
        """Return the request that gives the order; a payload is put in by whoever knows what it is of."""
        call = self.input if isinstance(self.input, Bound) else None
        return Retry(
            list(run_ids),
            self.actor or actor,
            self.from_task,
            self.from_start,
            NONE if call is None else call.to_new_run("").input,
            None if call is None else call.workflow,
            list(self.keep),
            list(self.again),
            self.force,
        )


def _names(given: str | Iterable[str], what: str) -> Sequence[str]:
    names = [given] if isinstance(given, str) else [*given]
    for name in names:
        if not is_token(name):
            raise UsageError(f"{what}={name!r:.60}: it must be the name of a task, 1 to 64 of A-Z a-z 0-9 _ -")
    return names
