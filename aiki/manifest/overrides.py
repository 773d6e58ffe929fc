"""Own what the manifest says of workflows by name: the timeouts of their runs, before those that they declare.

A worker registers them so, and who enqueues by name has them; `.options(...)` come before both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from aiki.core.errors import ConfigError, UsageError
from aiki.definitions.options import RunOptions, check_options
from aiki.definitions.workflow import Workflow
from aiki.manifest import fields
from aiki.manifest.document import Node
from aiki.manifest.fields import Fields
from aiki.manifest.pending import check_retry

_TIMEOUTS: Final = ("timeout", "cancel_timeout")
Overrides = Mapping[str, Mapping[str, int]]
"""By the name of a workflow the timeouts that are given, in microseconds."""


def read(node: Node) -> Overrides:
    """Return what `workflows` says. Raises ConfigError at a mistake, or where a key is not yet supported."""
    return fields.table(fields.token, _override, of="workflows by name")(node)


def apply(overrides: Overrides, workflows: Iterable[Workflow[..., Any]], *, file: Path) -> None:
    """Let the workflows that the manifest names declare what it says. Raises ConfigError if that makes no sense."""
    for workflow in workflows:
        if given := overrides.get(workflow.name):
            made: RunOptions = replace(workflow.declared, **given)
            try:
                check_options(made)
            except UsageError as error:
                raise ConfigError(f"{file}: workflow {workflow.name!r}: {error.message}") from error
            workflow.declare(made)


def _override(node: Node) -> Mapping[str, int]:
    override = Fields(node, *_TIMEOUTS, "retry", what="a workflow's settings")
    check_retry(override)
    given = {name: override.optional(name, _microseconds) for name in _TIMEOUTS}
    return {name: value for name, value in given.items() if value is not None}


def _microseconds(node: Node) -> int:
    return round(fields.duration(node) * 1_000_000)
