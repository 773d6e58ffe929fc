"""Own the manifest's format: which keys there are, and the value that each may have.

Checking a manifest touches no network and imports no module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from aiki.core.retention import Periods
from aiki.manifest import fields, overrides, schedules
from aiki.manifest.discovery import read
from aiki.manifest.document import Node, read_document
from aiki.manifest.fields import Fields
from aiki.manifest.overrides import Overrides
from aiki.manifest.profiles import ClientSettings, Profile, check_format, client_settings, profile_table
from aiki.manifest.retention import retention
from aiki.manifest.schedules import Schedules

_SHARED_KEYS: Final = ("aiki", "project", "modules", "workflows", "schedules", "worker", "retention")
_PROJECT_KEYS: Final = (*_SHARED_KEYS, "path", "client", "profiles")


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker runs; None where the manifest says nothing."""

    max_concurrent_runs: int | None = None
    drain_seconds: float | None = None
    lifespan: str | None = None
    """`module:name` of what makes what tasks share."""


@dataclass(frozen=True)
class Manifest:
    """A checked manifest. `path` holds folders that exist, `modules` the dotted modules of each name for `-m`."""

    file: Path
    project: str | None = None
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    path: tuple[Path, ...] = ()
    workflows: Overrides = field(default_factory=dict)
    schedules: Schedules = field(default_factory=dict)
    worker: WorkerSettings = WorkerSettings()
    client: ClientSettings = field(default_factory=ClientSettings)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    retention: Periods | None = None
    """How long ended runs are kept of workflows that it does not name."""

    @property
    def policies(self) -> dict[str, Periods]:
        """How long ended runs are kept, by workflow, and by `*` those of all others of the namespace."""
        found = {name: one.retention for name, one in self.workflows.items() if one.retention is not None}
        return found if self.retention is None else {**found, "*": self.retention}


def load(file: Path, *, packaged: bool = False) -> Manifest:
    """Read and check `file`. Raises ConfigError if it cannot be read or is wrong."""
    return parse(read(file).raw, file, packaged=packaged)


def parse(raw: bytes, file: Path, *, packaged: bool = False) -> Manifest:
    """Return the manifest in `raw`, the content of `file`.

    `packaged` is a manifest that a package ships for `-m`: `path`, `client` and `profiles` are not its to say.
    Raises ConfigError with `file:line:column: what, and what was expected`.
    """
    document = read_document(raw, file)
    top = Fields(document, *(_SHARED_KEYS if packaged else _PROJECT_KEYS), what="the manifest")
    top.required("aiki", check_format)
    made = Manifest(
        file=file,
        project=top.optional("project", fields.token),
        modules=top.optional("modules", fields.table(_module_name, _modules, of="names with their modules")) or {},
        path=() if packaged else _path(top, file),
        workflows=top.optional("workflows", overrides.read) or {},
        schedules=top.optional("schedules", partial(schedules.read, has_owner="project" in top)) or {},
        worker=top.optional("worker", _worker) or WorkerSettings(),
        client=top.optional("client", client_settings(file)) or ClientSettings(),
        profiles=top.optional("profiles", profile_table(file)) or {},
        retention=top.optional("retention", retention),
    )
    if made.policies and made.project is None:
        what = "`retention` without a `project`, and expected one: it says whose it is"
        top.place.refuse(what, hint="project: NAME")
    return made


def _module_name(node: Node) -> str:
    name = fields.text(node)
    if not all(part.isidentifier() for part in name.replace("-", "_").split(".")):
        node.place.refuse(f"{node}, and expected a name such as `myflows`")
    return name


def _modules(node: Node) -> tuple[str, ...]:
    found = tuple(fields.items(_dotted, of="modules, such as [myflows.orders]")(node))
    if not found:
        node.place.refuse("an empty list, and expected at least one module")
    return found


def _dotted(node: Node) -> str:
    name = fields.text(node)
    if not all(part.isidentifier() and part != "__main__" for part in name.split(".")):
        node.place.refuse(f"{node}, and expected a dotted module such as `myflows.orders`")
    return name


def _path(top: Fields, file: Path) -> tuple[Path, ...]:
    def folder(node: Node) -> Path:
        found = file.parent / Path(fields.text(node)).expanduser()
        if not found.is_dir():
            node.place.refuse(f"{node} is no folder ({found}), and expected one")
        return found.resolve()

    given = top.optional("path", fields.items(folder, of="folders, such as [src]"))
    return tuple(given) if given is not None else (file.parent.resolve(),)


def _worker(node: Node) -> WorkerSettings:
    worker = Fields(node, "max_concurrent_runs", "drain", "lifespan", what="`worker`")
    return WorkerSettings(
        max_concurrent_runs=worker.optional("max_concurrent_runs", fields.integer(least=1)),
        drain_seconds=worker.optional("drain", fields.duration),
        lifespan=worker.optional("lifespan", _lifespan),
    )


def _lifespan(node: Node) -> str:
    address = fields.text(node)
    module, colon, name = address.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        node.place.refuse(f"{node}, and expected a function such as `myflows.app:lifespan`")
    return address
