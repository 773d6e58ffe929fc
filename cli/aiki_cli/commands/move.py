"""`aiki run move`: another version carries out runs that were replayed on its code first, and that it fits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aiki import AikiError, Conflict, State, UsageError
from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands.bulk import UNHURRIED, Pace
from aiki_cli.commands.filters import EVERY, KeyedFilter
from aiki_cli.commands.modules import Modules
from aiki_cli.commands.orders import References, as_obeyed
from aiki_cli.session import Session
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki.replay import Code, Recording, Verdict
    from aiki_cli.commands.orders import Outcomes
    from aiki_cli.view.found import Found

_MOVABLE: Final = (State.BLOCKED, State.PAUSED, State.QUEUED, State.SCHEDULED)
_FOUND: Final = {
    "diverges": "diverges",
    "would go on differently": "would go on differently",
    "unknown": "could not be replayed",
}


@options.command(changes="move runs to another version")
async def move(
    session: Session,
    references: References = None,
    to_version: Annotated[str, typer.Option("--to-version", metavar="V", help="By which version they go on.")] = "",
    modules: Modules = None,
    no_replay: Annotated[
        bool,
        typer.Option("--no-replay", help="Move them whatever they have recorded; what does not fit is blocked."),
    ] = False,
    keep_blocked: Annotated[bool, typer.Option("--keep-blocked", help="Leave blocked what is blocked.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Though no worker has served the version, or its schema refuses the input.")
    ] = False,
    wanted: KeyedFilter = EVERY,
    pace: Pace = UNHURRIED,
    yes: bulk.Yes = False,
) -> Found:
    """Have another version carry out runs that are blocked, queued, scheduled or paused.

    Each is replayed first, on the code of that version (-m NAME): only what is compatible is moved, and of any other
    its verdict is told. What was blocked is queued again. What runs, or waits, has to be paused before.

    Of several each has its line; the exit code is the highest: 5 not found, 6 it does not fit, or its state forbids it,
    65 the version takes no input like its own.
    """
    if not to_version:
        raise UsageError("by which version are they to go on?", hint="aiki run move RUN --to-version V -m NAME")
    is_found = wanted.is_meant(references or (), command="aiki run move RUN --to-version V")
    code = None if no_replay else _code(session, modules or (), to_version)
    client = await session.client()
    mover = _Mover(client, code, to_version, keep_blocked=keep_blocked, force=force)
    if is_found:
        would = f"moved to version {to_version}{'' if no_replay else ', as far as they fit it'}"
        meant = replace(await wanted.runs(client, _MOVABLE), not_version=to_version)
        found = await bulk.reach(session, client, meant, pace, yes=yes, would=would)
        return as_obeyed(found, mover.give, order="move")
    run_ids = list(dict.fromkeys(await find_all(client, references or ())))[: pace.limit]
    outcomes = await mover.give(run_ids)
    if len(outcomes) == 1 and isinstance(outcomes[0], AikiError):
        raise outcomes[0]
    return _shown(session, run_ids, outcomes)


def _code(session: Session, modules: Sequence[str], version: str) -> Code:
    """Return the code on which runs are replayed. Raises UsageError if nobody says where it is."""
    from aiki.manifest import module_folders, resolve
    from aiki.replay import Code

    if not modules and session.manifest is None:
        raise UsageError(
            "runs are replayed on the code of the other version before they are moved, and nothing says where that is",
            hint="the same again with -m NAME, or with --no-replay",
        )
    folders = module_folders(session.manifest, Path.cwd())
    return Code(resolve(modules, session.manifest, folders), folders, as_version=version)


@dataclass(frozen=True)
class _Mover:
    """Moves runs that fit the other version."""

    client: Client
    code: Code | None
    """On which they are replayed first; None if they are not."""
    version: str
    keep_blocked: bool
    force: bool

    async def give(self, run_ids: Sequence[str]) -> Outcomes:
        """Move the runs, and return of each in order how it is since, or why it stays."""
        claims: dict[str, int] = {}
        stays = {} if self.code is None else await self._misfits(self.code, run_ids, claims)
        going = [run_id for run_id in run_ids if run_id not in stays]
        moved = await self.client.runs.move_batch(
            going, self.version, claims=claims or None, keep_blocked=self.keep_blocked, force=self.force
        )
        outcomes: dict[str, RunStatus | AikiError] = {**stays, **dict(zip(going, moved, strict=True))}
        return [outcomes[run_id] for run_id in run_ids]

    async def _misfits(self, code: Code, run_ids: Sequence[str], claims: dict[str, int]) -> dict[str, AikiError]:
        """Replay the runs; return why some do not fit, and note of each how often it had been claimed by then."""
        from aiki.replay import Finding, replay_apart

        runs = await self.client.runs.status(run_ids, follow=False)
        asked = [run.run_id for run in runs if run.state in _MOVABLE and run.version != self.version]
        if not asked:
            return {}
        misfits: dict[str, AikiError] = {}
        async with aclosing(replay_apart(_noted(self.client.runs.export(asked), claims), code)) as judged:
            async for verdict in judged:
                if verdict.finding is not Finding.COMPATIBLE:
                    misfits[verdict.run_id] = _misfit(verdict)
        return misfits


async def _noted(
    recordings: AsyncGenerator[Recording, None], claims: dict[str, int]
) -> AsyncGenerator[Recording, None]:
    """Yield the recordings, and note of each how often its run had been claimed."""
    async with aclosing(recordings):
        async for recording in recordings:
            claims[recording.run_id] = recording.exported.run.claims
            yield recording


def _misfit(verdict: Verdict) -> Conflict:
    place = "" if verdict.place is None else f" at {verdict.place}"
    why = f": {verdict.why}" if verdict.why else ""
    found = f"on version {verdict.as_version} it {_FOUND[str(verdict.finding)]}"
    return Conflict(
        f"run {verdict.run_id} was not moved: {found}{why}{place}",
        hint=f"aiki replay {verdict.run_id} --as-version {verdict.as_version} -m NAME",
    )


def _shown(session: Session, run_ids: Sequence[str], outcomes: Outcomes) -> Found:
    """Return what has come of runs that were named."""
    from aiki_cli.view.orders import moved

    went = [one.run_id for one in outcomes if not isinstance(one, AikiError)]
    said = f"follow it: aiki status {' '.join(went)} --watch" if went and session.out.talkative else None
    return moved(list(zip(run_ids, outcomes, strict=True)), said=said)
