"""Own what TAB offers: workflows and events with their members, runs, schedules, modules; what the daemon says is kept.

A TAB must never wait long, never write anything but its suggestions, and never fail: without an answer there are none.
Our scripts evaluate nothing of what is offered; but scripts of others may, so nothing but plain words is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from aiki_cli.running import in_loop
from aiki_cli.session import Common, Session
from aiki_cli.where import KEY_NAMES
from aiki_cli.words import payload_fields

if TYPE_CHECKING:
    from aiki import Client

FRESH_SECONDS: Final = 30.0
WAIT_SECONDS: Final = 1.0
RUNS: Final = 50
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.+-]+(:?=)?")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,150}")
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.+, -]")

Suggestion = tuple[str, str]
"""What is inserted, and what describes it."""


def workflow_names(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Suggest the workflows that workers have registered."""
    return _matching(_known(ctx, "workflows", _ask_workflows), incomplete)


def runs(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Suggest the newest runs."""
    return _matching(_known(ctx, "runs", _ask_runs), incomplete)


def schedules(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Suggest the schedules that there are."""
    given = {str(name) for name in ctx.params.get("names") or ()}
    return [one for one in _matching(_known(ctx, "schedules", _ask_schedules), incomplete) if one[0] not in given]


def payload_members(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Suggest what the payload of the workflow that was named may hold, up to the value: `name=`, `order.cents:=`."""
    workflow, version = str(ctx.params.get("workflow")), ctx.params.get("version")
    if not _NAME.fullmatch(f"{workflow}-{version}"):
        return []

    async def ask(client: Client) -> list[Suggestion]:
        known = [
            info for info in await client.workflows.list(workflow, standing=False) if version in {None, info.version}
        ]
        return payload_fields.words(known[0].parameters) if known else []

    offered = _matching(_known(ctx, f"members-{workflow}-{version}", ask), incomplete)
    return _not_given(offered, ctx.params.get("pairs") or ())


def event_words(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Suggest the newest runs, then the events that workflows declare, then what the one that was named may hold."""
    given = [str(word) for word in ctx.params.get("words") or ()]
    if not given and not any(ctx.params.get(name) for name in ("workflow", "state", "label")):
        return runs(ctx, incomplete)
    names = _known(ctx, "events", _ask_events)
    named = next((name for name, _ in names if name in given), None)
    if named is None:
        return _matching(names, incomplete) or runs(ctx, incomplete)
    return _not_given(_matching(_known(ctx, f"event-{named}", partial(_ask_event, name=named)), incomplete), given)


def modules(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Suggest the names of the manifest, and the modules and packages where they would be looked for."""
    import pkgutil

    from aiki.manifest import module_folders

    try:
        manifest = Session(_common(ctx)).manifest
        folders = [str(folder) for folder in module_folders(manifest, Path.cwd())]
    except Exception:  # noqa: BLE001 - a TAB never fails
        return []
    named = dict.fromkeys(manifest.modules, f"of {manifest.file.name}") if manifest else {}
    there = {info.name: "a package" if info.ispkg else "a module" for info in pkgutil.iter_modules(folders)}
    return _matching(list({**there, **named}.items()), incomplete)


def states(incomplete: str) -> list[str]:
    """Suggest the states of runs."""
    from aiki import State

    return [str(state) for state in State if state.startswith(incomplete)]


async def _ask_workflows(client: Client) -> list[Suggestion]:
    versions: dict[str, list[str]] = {}
    for workflow in await client.workflows.list(standing=False):
        versions.setdefault(workflow.name, []).append(workflow.version)
    return [(name, f"version {', '.join(known)}") for name, known in versions.items()]


async def _ask_schedules(client: Client) -> list[Suggestion]:
    found = [one.seen for one in await client.schedules.list() if one.seen is not None]
    return [(info.name, f"{'paused ' if info.paused else ''}{info.call.workflow}") for info in found]


async def _ask_events(client: Client) -> list[Suggestion]:
    takers: dict[str, list[str]] = {}
    for workflow in await client.workflows.list(standing=False):
        for name in workflow.events or ():
            takers.setdefault(name, []).append(workflow.name)
    return [(name, f"of {', '.join(dict.fromkeys(known))}") for name, known in takers.items() if _NAME.fullmatch(name)]


async def _ask_event(client: Client, *, name: str) -> list[Suggestion]:
    known = [
        info.events[name] for info in await client.workflows.list(standing=False) if info.events and name in info.events
    ]
    return payload_fields.words(known[0]) if known else []


async def _ask_runs(client: Client) -> list[Suggestion]:
    page = await client.runs.list(limit=RUNS)
    return [(run.run_id, f"{run.state}  {run.workflow}") for run in page.runs]


def _known(
    ctx: typer.Context, kind: str, ask: Callable[[Client], Coroutine[Any, Any, list[Suggestion]]]
) -> list[Suggestion]:
    """Return what the daemon said at most FRESH_SECONDS ago, or says now."""
    session = Session(_common(ctx))
    try:
        place = _cache_file(session, kind)
        with contextlib.suppress(OSError, ValueError):
            if time.time() - place.stat().st_mtime < FRESH_SECONDS:
                return [(value, about) for value, about in json.loads(place.read_text())]
        found = in_loop(lambda: _answer(session, ask))
        with contextlib.suppress(OSError):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Another TAB may read it at this moment: it must never see half of it.
            fresh = place.with_suffix(f".{os.getpid()}")
            with open(fresh, "x", opener=_for_us_alone) as kept:
                kept.write(json.dumps(found))
            fresh.replace(place)
    except Exception:  # noqa: BLE001 - a TAB never fails
        return []
    return found


def _common(ctx: typer.Context) -> Common:
    where: dict[str, Any] = {name: ctx.params.get(name) for name in ("url", "namespace", "profile", "file", *KEY_NAMES)}
    return Common(**where)


async def _answer(session: Session, ask: Callable[[Client], Coroutine[Any, Any, list[Suggestion]]]) -> list[Suggestion]:
    import asyncio

    async with asyncio.timeout(WAIT_SECONDS), session.connect() as client:
        return await ask(client)


def _cache_file(session: Session, kind: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    whose = hashlib.blake2b(f"{session.url()}\0{session.namespace()}".encode(), digest_size=8).hexdigest()
    return Path(base) / "aiki" / f"{kind}-{whose}.json"


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _not_given(offered: list[Suggestion], pairs: Iterable[str]) -> list[Suggestion]:
    """Return the suggestions without members that have a value already."""
    given = {pair.partition("=")[0].rstrip(":") for pair in pairs}
    return [(word, about) for word, about in offered if word.rstrip(":=") not in given]


def _matching(suggestions: list[Suggestion], incomplete: str) -> list[Suggestion]:
    return [
        (value, _NOT_PLAIN.sub("_", about))
        for value, about in suggestions
        if value.startswith(incomplete) and _PLAIN.fullmatch(value)
    ]
