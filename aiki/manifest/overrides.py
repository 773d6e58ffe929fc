"""Own what the manifest says of workflows by name: how their runs are bounded, retried and recorded.

It comes before what they declare. A worker registers them so, and who enqueues by name has them; `.options(...)` come
before both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from aiki.core.errors import ConfigError, UsageError
from aiki.core.retention import Periods
from aiki.core.retry import Retry
from aiki.definitions.arguments import RECORD_ARGUMENTS, RecordArguments, checked_record
from aiki.definitions.options import RunOptions, check_options
from aiki.definitions.own_retry import RetryFrom, checked_from
from aiki.definitions.workflow import Workflow
from aiki.manifest import fields
from aiki.manifest.document import Node
from aiki.manifest.fields import Fields
from aiki.manifest.retention import retention
from aiki.manifest.retries import retry

_TIMEOUTS: Final = ("timeout", "cancel_timeout")


@dataclass(frozen=True, slots=True)
class Override:
    """What is said of one workflow; what is not, it declares itself."""

    timeouts: Mapping[str, int] = field(default_factory=dict)
    """In microseconds."""
    retry: Retry | None = None
    retry_from: RetryFrom | None = None
    record_arguments: RecordArguments | None = None
    retention: Periods | None = None
    """How long its ended runs are kept; of that a worker says nothing: `aiki apply` does."""


Overrides = Mapping[str, Override]
"""By the names of workflows."""


def read(node: Node) -> Overrides:
    """Return what `workflows` says. Raises ConfigError at a mistake."""
    return fields.table(fields.token, _override, of="workflows by name")(node)


def apply(overrides: Overrides, workflows: Iterable[Workflow[..., Any]], *, file: Path) -> None:
    """Let the workflows that the manifest names declare what it says. Raises ConfigError if that makes no sense."""
    for workflow in workflows:
        if (given := overrides.get(workflow.name)) is None:
            continue
        made: RunOptions = replace(workflow.declared, **given.timeouts)
        try:
            check_options(made)
        except UsageError as error:
            raise ConfigError(f"{file}: workflow {workflow.name!r}: {error.message}") from error
        workflow.declare(made)
        workflow.retry = given.retry or workflow.retry
        workflow.retry_from = given.retry_from or workflow.retry_from
        workflow.record_arguments = given.record_arguments or workflow.record_arguments


def _override(node: Node) -> Override:
    known = (*_TIMEOUTS, "retry", "retry_from", "record_arguments", "retention")
    override = Fields(node, *known, what="a workflow's settings")
    given = {name: override.optional(name, fields.microseconds) for name in _TIMEOUTS}
    return Override(
        {name: value for name, value in given.items() if value is not None},
        override.optional("retry", retry),
        override.optional("retry_from", _retry_from),
        override.optional("record_arguments", _record_arguments),
        override.optional("retention", retention),
    )


def _retry_from(node: Node) -> RetryFrom:
    return checked_from(fields.choice("failure", "start")(node))


def _record_arguments(node: Node) -> RecordArguments:
    return checked_record(fields.choice(*RECORD_ARGUMENTS)(node))
