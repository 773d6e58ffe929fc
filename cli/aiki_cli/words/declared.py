"""Own what the manifest declares, in the terms of the SDK: schedules as calls, of the workflows that are at hand."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aiki import Call, ConfigError, NamedCall, PayloadError, UsageError, When
from aiki.client import named
from aiki.client.when import from_spec
from aiki.definitions.registry import Registry
from aiki.manifest import module_folders, overrides, resolve
from aiki.manifest.collecting import collect, load_lifespan
from aiki.process.imports import looking_first_in

if TYPE_CHECKING:
    from aiki.manifest import Manifest
    from aiki.manifest.schedules import Declared
    from aiki_cli.session import Session

Declarations: TypeAlias = Mapping[str, tuple[Call[Any] | NamedCall, When]]
"""What each schedule enqueues, and when, by its name."""


def at_hand(session: Session, names: Sequence[str], *, as_served: bool = False) -> Registry:
    """Import the modules of these names, or without names all of the manifest, and return their workflows.

    With `as_served` what the manifest has tasks share is imported, too. What they print goes to stderr. Raises
    ConfigError with the user's traceback, UsageError for what is no module.
    """
    folders = module_folders(session.manifest, Path.cwd())
    modules = resolve(names, session.manifest, folders)
    with looking_first_in([str(folder) for folder in folders]), redirect_stdout(sys.stderr):
        registry = collect(modules)
        if as_served and session.manifest and session.manifest.worker.lifespan:
            load_lifespan(session.manifest.worker.lifespan)
    if session.manifest:
        overrides.apply(session.manifest.workflows, registry, file=session.manifest.file)
    return registry


def declarations(manifest: Manifest, registry: Registry) -> Declarations:
    """Return the manifest's schedules. Raises as `call_of`."""
    return {name: (call_of(name, one, registry), from_spec(one.spec)) for name, one in manifest.schedules.items()}


def call_of(name: str, declared: Declared, registry: Registry) -> Call[Any] | NamedCall:
    """Return what a schedule enqueues: of a workflow that is at hand, else by its name.

    Raises PayloadError if its payload does not fit such a workflow, ConfigError if no run can have its options, or
    several versions of the workflow are at hand.
    """
    try:
        call = NamedCall(declared.workflow, declared.payload, declared.version).options(**declared.options)
    except UsageError as error:
        declared.place.refuse(f"schedule {name!r}: {error.message}", hint=error.hint)
    versions = {workflow.version: workflow for workflow in registry if workflow.name == declared.workflow}
    if declared.version is None and len(versions) > 1:
        known = ", ".join(versions)
        raise ConfigError(
            f"{declared.place}: schedule {name!r}: workflow {declared.workflow!r} has several versions ({known})",
            hint=f'version: "{next(iter(versions))}"',
        )
    workflow = versions.get(declared.version or next(iter(versions), ""))
    if workflow is None:
        return call
    try:
        return named.of_workflow(call, workflow)
    except PayloadError as error:
        raise PayloadError(f"{declared.place}: schedule {name!r}: {error.message}", hint=error.hint) from None
