"""`aiki replay`: what has run, on the code at hand, before that is deployed. It executes nothing and writes nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from aiki import UsageError
from aiki_cli import options
from aiki_cli.commands.modules import Modules
from aiki_cli.session import Session
from aiki_cli.words import payload, suggestions
from aiki_cli.words.references import find_all
from aiki_cli.words.states import states_of

if TYPE_CHECKING:
    from aiki import Client, RunFilter
    from aiki.replay import Recording, Verdict
    from aiki_cli.running import Later
    from aiki_cli.view.found import Found

    Replay: TypeAlias = Callable[[AsyncGenerator[Recording, None]], AsyncGenerator[Verdict, None]]
    """Judges runs, one after the other."""

DEFAULT_RUN_TIMEOUT: Final = "10s"
_MANY: Final = "Many runs, by what they are"
_HINT: Final = "aiki replay --since 7d -m myflows"


@options.command
def replay(
    session: Session,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN...]", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
    ] = None,
    modules: Modules = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="7d", help="Enqueued at most so long ago.", rich_help_panel=_MANY),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", metavar="NAME", autocompletion=suggestions.workflow_names, rich_help_panel=_MANY),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="V", help="Of this version.", rich_help_panel=_MANY)
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="May repeat.", autocompletion=suggestions.states, rich_help_panel=_MANY),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=TEXT", help="May repeat; all must match.", rich_help_panel=_MANY),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="So many of them, the same each time.", rich_help_panel=_MANY),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", metavar="FILE", help="Runs that were exported; - is stdin. May repeat."),
    ] = None,
    as_version: Annotated[
        str | None, typer.Option("--as-version", metavar="V", help="Replay all on this version.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Let all that is not compatible fail it, with exit code 1.")
    ] = False,
    run_timeout: Annotated[
        str, typer.Option("--run-timeout", metavar="10s", help="How long the replay of one run may take.")
    ] = DEFAULT_RUN_TIMEOUT,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; one for each core by default.")] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Replay here, without a limit of time, and open pdb where a run stands.")
    ] = False,
    step: Annotated[bool, typer.Option("--step", help="The same, from each body's first line on.")] = False,
) -> Later:
    """Replay runs on the code at hand, executing nothing: which of them would it not fit?

    Runs in flight and runs that have ended, each on the workflow of its own version. Of each there is a verdict:

    compatible: all that is recorded is asked for in its order; a run that has ended ends as it did.

    diverges: what is recorded is not asked for, or no longer fits. A worker would block the run, or it would fail.

    would go on differently: a call that was started is no longer asked for; a run that sleeps or waits would rest for
    another event, or until another date; or a run that has ended would end otherwise, or not yet.

    unknown: it could not be replayed; the reason says what that needs.

    Exit code 1 if any diverges. With -o json or jsonl each verdict says run, workflow, state, verdict, why, entry,
    recorded, asked, file, line and function; ids are those that diverge.

    With --debug a breakpoint() in a body stops there, with the values of the record, and pdb opens where the body does
    not fit, has raised, or waits.
    """
    from aiki.manifest import module_folders, resolve, seconds
    from aiki.replay import Code, replay_apart

    wanted = _Wanted(references or (), since, workflow, version, states=state or (), labels=label or (), sample=sample)
    wanted.check(files or ())
    folders = module_folders(session.manifest, Path.cwd())
    names = resolve(modules or (), session.manifest, folders)
    run_seconds = seconds(run_timeout)
    if run_seconds <= 0:
        raise UsageError(f"--run-timeout {run_timeout}: a replay takes some time", hint="--run-timeout 10s")
    code = Code(names, folders, as_version, run_seconds)
    apart: Replay = partial(replay_apart, code=code, processes=jobs)
    if debug or step:
        from aiki_cli.processes import debugging

        apart = debugging.here(session, code, step=step, files=files or ())
    if files:
        from aiki_cli.words.exported import recordings_of

        read = recordings_of(session.files, files)
        return lambda: _replayed(session, _of_version(read, version), apart, total=None, strict=strict)

    async def replay_from_server() -> Found:
        client = await session.client()
        recordings, total = await wanted.recordings(client)
        return await _replayed(session, recordings, apart, total=total, strict=strict)

    return replay_from_server


@dataclass(frozen=True)
class _Wanted:
    """Which runs of a server are meant."""

    references: Sequence[str]
    since: str | None
    workflow: str | None
    version: str | None
    states: Sequence[str]
    labels: Sequence[str]
    sample: int | None

    def check(self, files: Sequence[str]) -> None:
        """Raise UsageError unless runs are meant in one way."""
        is_filtered = any((self.since, self.workflow, self.states, self.labels, self.sample))
        ways = [bool(self.references), is_filtered or (bool(self.version) and not files), bool(files)]
        if sum(ways) > 1:
            raise UsageError("name runs, filter them, or read them from a file: one of these", hint=_HINT)
        if not any(ways):
            raise UsageError("no run is named", hint=_HINT)

    async def recordings(self, client: Client) -> tuple[AsyncGenerator[Recording, None], int | None]:
        """Return the runs, and how many there are, as far as that is known before."""
        if self.references:
            ids = list(dict.fromkeys(await find_all(client, self.references)))
            return client.runs.export(ids), len(ids)
        wanted = self._filter()
        if self.sample is not None:
            from aiki_cli.words.sampling import sample

            ids = await sample(_ids(client, wanted, self.version), self.sample)
            return client.runs.export(ids), len(ids)
        if self.version is not None:
            return _of_version(client.runs.export(wanted), self.version), None
        count = await client.runs.count(
            states=wanted.states, workflow=wanted.workflow, labels=wanted.labels, since=wanted.since
        )
        return client.runs.export(wanted), None if count.capped else count.runs

    def _filter(self) -> RunFilter:
        from aiki import RunFilter, State
        from aiki.manifest import seconds

        after = None if self.since is None else datetime.now(UTC) - timedelta(seconds=seconds(self.since))
        states, labels = states_of(self.states) or list(State), payload.labels_of(self.labels)
        return RunFilter(workflow=self.workflow, states=states, labels=labels, since=after)


async def _ids(client: Client, wanted: RunFilter, version: str | None) -> AsyncGenerator[str, None]:
    """Yield the ids of the runs that are meant, newest first."""
    if version is None:
        async for ids in client.runs.matching(wanted):
            for run_id in ids:
                yield run_id
        return
    cursor: str | None = None
    while True:
        page = await client.runs.list(
            states=wanted.states, workflow=wanted.workflow, labels=wanted.labels, since=wanted.since, cursor=cursor
        )
        for run in page.runs:
            if run.version == version:
                yield run.run_id
        if (cursor := page.cursor) is None:
            return


async def _of_version(
    recordings: AsyncGenerator[Recording, None], version: str | None
) -> AsyncGenerator[Recording, None]:
    """Yield those of this version; all, if none is meant."""
    async with aclosing(recordings):
        async for recording in recordings:
            if version is None or recording.exported.run.version == version:
                yield recording


async def _replayed(
    session: Session,
    recordings: AsyncGenerator[Recording, None],
    replayed: Replay,
    *,
    total: int | None,
    strict: bool,
) -> Found:
    from aiki_cli.view import verdicts
    from aiki_cli.view.found import Lines

    tally = verdicts.Tally(is_strict=strict)

    async def found() -> AsyncGenerator[Verdict, None]:
        async with aclosing(replayed(recordings)) as judged:
            async for verdict in judged:
                tally.add(verdict)
                yield verdict
                session.out.go_on()

    return Lines(found(), verdicts.line, tally.rows, total=total, end=tally.end, doing="replay", unit="runs")
