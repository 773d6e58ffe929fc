"""Own what a strict test is told that it forgot: a line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from aiki.core.states import State
from aiki.definitions import stored
from aiki.testing.mocks import Mock

if TYPE_CHECKING:
    from aiki.testing.memory.run import Run
    from aiki.testing.stage import Stage


def leftovers(stage: Stage, mocks: Iterable[Mock[Any]], seen: Container[str]) -> list[str]:
    """Return what is left at the end of a test; `seen` are the runs whose end somebody has asked for."""
    lines = [line for run in stage.engine.store.runs.values() for line in _of(run, stage, seen)]
    return lines + [line for mock in mocks if (line := mock.forgotten()) is not None]


def _of(run: Run, stage: Stage, seen: Container[str]) -> Iterator[str]:
    what = f"run {run.id} of workflow {run.workflow!r}"
    if not run.is_over and (run.parent is None or run.parent.is_over) and (status := stage.read(run.id)) is not None:
        yield f"{what} has not ended: it {stage.why(status)[0]}"
    events = Counter(one.name for one in run.inbox.unread.values() if one.kind == "event")
    for name, number in events.items():
        yield f"{what} has not taken event {name!r}" + (f", {number} of them" if number > 1 else "")
    if run.is_over and run.why is not None and run.retried_by is None and run.state is not State.CANCELLED:
        yield f"{what}: {run.why}"
    is_unseen = run.parent is None and run.retried_by is None and run.id not in seen and run.origin_id not in seen
    if run.state is State.FAILED and is_unseen and (failure := stored.read_failure(run.error)) is not None:
        yield f"{what} failed, and nobody has asked how it ended: {failure.type}: {failure.message}"
