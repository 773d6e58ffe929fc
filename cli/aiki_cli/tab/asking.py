"""Own what a daemon or the files of a place are asked for a TAB, all of it at once: it is kept for the next ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiki_cli.tab.entries import FILES, Entry

if TYPE_CHECKING:
    from aiki import Client
    from aiki_cli.session import Session

SECONDS: Final = 5.0
RUNS: Final = 100
WORDS: Final = 5_000
"""Of workflows, their members and events."""


def ask(place: Mapping[str, str], whom: str) -> tuple[list[Entry], bool]:
    """Return what is known in a place, of its files or of its daemon, and whether all of them have answered."""
    from aiki_cli.running import in_loop
    from aiki_cli.session import Common, Session

    session = Session(Common(**_given(place)))
    found: list[Entry] = []
    try:
        if whom == FILES:
            for read in (_modules, _profiles):
                found += read(session)
        else:
            found += in_loop(lambda: _answers(session))
    except Exception:  # noqa: BLE001 - a TAB never fails
        return found, False
    return found, True


def _given(place: Mapping[str, str]) -> dict[str, Any]:
    from pathlib import Path

    given: dict[str, Any] = {name.strip("-").replace("-", "_"): value for name, value in place.items()}
    if (file := given.pop("f", None)) is not None:
        given["file"] = Path(file)
    return given


def _profiles(session: Session) -> Iterator[Entry]:
    for name, profile in session.where.profiles.items():
        yield Entry("profile", name, f"of {profile.place.file.name}")


def _modules(session: Session) -> Iterator[Entry]:
    """Yield the names of the manifest, and the modules and packages where they would be looked for."""
    import pkgutil
    from pathlib import Path

    from aiki.manifest import module_folders

    manifest = session.manifest
    for name in manifest.modules if manifest else ():
        yield Entry("module", name, f"of {manifest.file.name}" if manifest else "")
    for module in islice(pkgutil.iter_modules(map(str, module_folders(manifest, Path.cwd()))), WORDS):
        yield Entry("module", module.name, "a package" if module.ispkg else "a module")


async def _answers(session: Session) -> list[Entry]:
    import asyncio

    async with asyncio.timeout(SECONDS), session.connect() as client:
        asked = await asyncio.gather(_runs(client), _workflows(client), _schedules(client))
    return [entry for found in asked for entry in found]


async def _runs(client: Client) -> list[Entry]:
    page = await client.runs.list(limit=RUNS)
    return [Entry("run", run.run_id, run.state, of=run.workflow, at=run.created_at.timestamp()) for run in page.runs]


async def _workflows(client: Client) -> list[Entry]:
    from aiki_cli.words import payload_fields

    versions: dict[str, list[str]] = {}
    more: list[Entry] = []
    for info in await client.workflows.list(standing=False):
        name, version = info.name, info.version
        versions.setdefault(name, []).append(version)
        for word, about in payload_fields.words(info.parameters):
            more.append(Entry("member", word, about, of=name, version=version))
        for event, schema in (info.events or {}).items():
            more.append(Entry("event", event, of=name, version=version))
            more += [Entry("carried", word, about, of=event) for word, about in payload_fields.words(schema)]
    names = [Entry("workflow", name, f"version {', '.join(known)}") for name, known in versions.items()]
    return (names + more)[:WORDS]


async def _schedules(client: Client) -> list[Entry]:
    found = [one.seen for one in await client.schedules.list() if one.seen is not None]
    return [Entry("schedule", info.name, f"{'paused ' if info.paused else ''}{info.call.workflow}") for info in found]
