"""Own what a worker says of a workflow whose code is not what it was, while runs are in flight that the other began.

It is a warning, once for each workflow and other code: whether any run would go another way is known only by a replay.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable
from datetime import UTC
from typing import TYPE_CHECKING, Any

from aiki.core.moments import to_datetime
from aiki.core.states import BEGUN

if TYPE_CHECKING:
    from aiki.definitions.registry import Registry
    from aiki.definitions.workflow import Workflow
    from aiki.wire.messages import CodeChange

log = logging.getLogger("aiki.worker.code")


class CodeWarnings:
    """What was said, so that it is said once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._said: set[tuple[str, str, int]] = set()

    def warn(self, changes: Iterable[CodeChange]) -> None:
        """Warn of the changes that were not told of before."""
        for change in changes:
            told = (change.workflow, change.version, change.since)
            workflow = self._registry.get(change.workflow, change.version)
            if told not in self._said and workflow is not None:
                self._said.add(told)
                log.warning("%s; %s", *sentences(change, workflow))


def sentences(change: CodeChange, workflow: Workflow[..., Any]) -> tuple[str, str]:
    """Return what has changed, with what to type, and what it may mean."""
    runs = f"{change.runs:,}{'+' if change.capped else ''} {'run' if change.runs == 1 else 'runs'}"
    since = f"{to_datetime(change.since).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    python = f", on Python {change.python}" if change.python else ""
    name = f"{change.workflow} {change.version}"
    return (
        f"the code of {name} has changed while {runs} of it {'is' if change.runs == 1 else 'are'} in flight: see which"
        f" would go another way by `{replay_line(change, workflow)}`",
        f"they were begun by the code that {change.worker or 'a worker'} registered at {since}{python}; one that"
        " recorded what this code does not ask for is blocked when it replays, and the others go on: where that may be,"
        " raise its version or branch on `run.patched(...)`",
    )


def replay_line(change: CodeChange, workflow: Workflow[..., Any]) -> str:
    """Return the command that replays the runs in flight on the code at hand."""
    module = getattr(workflow.fn, "__module__", None)
    name = module if isinstance(module, str) and module != "__main__" else "NAME"
    route = f"--workflow {shlex.quote(change.workflow)} --version {shlex.quote(change.version)}"
    return f"aiki replay {route} --state {','.join(sorted(BEGUN))} -m {shlex.quote(name)}"
