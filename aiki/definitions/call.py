"""Own a workflow with its arguments bound: what is enqueued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Raw

from aiki.wire.messages import NewRun

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow
    from aiki.payload import Result

R = TypeVar("R")


class Call(Generic[R]):
    """A workflow with its arguments bound. The arguments were checked and encoded when it was made."""

    __slots__ = ("_digest", "_input", "workflow")

    def __init__(self, workflow: Workflow[Any, R], input: bytes, digest: str | None) -> None:
        self.workflow = workflow
        self._input = input
        self._digest = digest

    def __repr__(self) -> str:
        return f"<call of {self.workflow!r}>"

    @property
    def result(self) -> Result:
        """How the run's result is decoded."""
        return self.workflow.result

    def to_new_run(self, run_id: str) -> NewRun:
        """Return the request to enqueue this call as the run `run_id`."""
        workflow = self.workflow
        return NewRun(
            id=run_id,
            workflow=workflow.name,
            version=workflow.version,
            input=Raw(self._input),
            key=workflow.idempotency_key,
            digest=self._digest,
            on_conflict=workflow.on_conflict,
            priority=workflow.priority,
            labels=workflow.labels,
            start_at=workflow.start_at,
            delay=workflow.delay,
        )
