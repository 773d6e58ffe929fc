"""Own a call: a route, an encoded input and the options of its run as a value, which knows no workflow object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Raw

from aiki.definitions.options import NO_OPTIONS, RunOptions
from aiki.wire.messages import NewRun

if TYPE_CHECKING:
    from aiki.payload import Result

R = TypeVar("R")


class Call(Generic[R]):
    """A workflow with its arguments bound. The arguments were checked and encoded when it was made."""

    __slots__ = ("_digest", "_input", "options", "result", "version", "workflow")

    def __init__(
        self,
        workflow: str,
        version: str,
        input: bytes,
        *,
        result: Result,
        options: RunOptions = NO_OPTIONS,
        digest: str | None = None,
    ) -> None:
        """`digest` is that of the input's canonical form; options with a key need it."""
        self.workflow = workflow
        self.version = version
        self.options = options
        self.result = result
        """How the run's result is decoded."""
        self._input = input
        self._digest = digest

    def __repr__(self) -> str:
        return f"<call of workflow {self.workflow} {self.version}>"

    def to_new_run(self, run_id: str) -> NewRun:
        """Return the request to enqueue this call as the run `run_id`."""
        return NewRun(run_id, self.workflow, self.version, Raw(self._input), self.options, self._digest)
