"""`aiki worker`: serve the workflows of modules, in this process or in several, and see who serves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiki_cli import options
from aiki_cli.again import start_again
from aiki_cli.commands.modules import Modules
from aiki_cli.session import Session

if TYPE_CHECKING:
    from aiki_cli.view.found import Rows

DEFAULT_DRAIN = "30s"
DEFAULT_LEASE = "30s"
DEFAULT_START_TIMEOUT = "30s"


@options.command(changes="take runs, and carry them out")
def start(
    session: Session,
    modules: Modules = None,
    max_concurrent_runs: Annotated[
        int | None, typer.Option("--max-concurrent-runs", min=1, help="Runs that move at a time; 100 by default.")
    ] = None,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Worker processes.")] = 1,
    drain: Annotated[
        str | None, typer.Option("--drain", metavar="30s", help="How long tasks may go on after a stop.")
    ] = None,
    lease: Annotated[
        str,
        typer.Option(
            "--lease", metavar="30s", help="Without a sign of life for so long, its runs go to other workers."
        ),
    ] = DEFAULT_LEASE,
    worker_id: Annotated[str | None, typer.Option("--id", metavar="NAME", help="How people see this worker.")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Follow changes of the code.")] = False,
    applies: Annotated[bool, typer.Option("--apply", hidden=True, help="Apply the manifest's schedules.")] = False,
) -> int:
    """Serve the workflows of modules until stopped.

    SIGTERM, SIGHUP or Ctrl-C drains: no new run is taken, tasks may end; a second one stops at once. Without -m all
    modules of the manifest are served. For a daemon, and for NATS to let us in, it waits for --start-timeout, or 30 s.
    """
    from aiki.manifest import module_folders, resolve
    from aiki_cli.processes.worker_process import DEFAULT_RUNS, SAFE_PATH, worker_command

    folders = module_folders(session.manifest, Path.cwd())
    names = resolve(modules or (), session.manifest, folders)
    drain_seconds = _drain_seconds(session, drain)
    runs = max_concurrent_runs or (session.manifest and session.manifest.worker.max_concurrent_runs) or DEFAULT_RUNS
    start_timeout = session.start_timeout or DEFAULT_START_TIMEOUT
    if reload or processes > 1:
        times = ["--lease", lease, "--start-timeout", start_timeout]
        command = worker_command(session, names, runs=runs, drain_seconds=drain_seconds, further=times)
        return _run_fleet(session, command, processes, drain_seconds, folders if reload else None)
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of text iterate in the same order in every process only so; a replay may depend on it (design, 5).
        start_again([SAFE_PATH], ["--yes"], PYTHONHASHSEED="0")  # nobody is asked twice
    from aiki_cli.processes.serving import WorkerOptions, serve

    lifespan = session.manifest.worker.lifespan if session.manifest else None
    given = WorkerOptions(folders, runs, drain_seconds, lease, start_timeout, lifespan, worker_id, applies)
    return serve(session, names, given)


@options.command
async def list_workers(session: Session) -> Rows:
    """List the workers that live, by name: what they run and take at once, since when, and what they serve.

    One that has died is among them until its lease is over, with the time when it was seen last. Its first 10 workflows
    are named.

    TSV columns: worker, session_id, slots (empty if it is too old to say so), running, since, seen_at, draining,
    routes_total, routes.
    """
    from aiki_cli.view import workers

    return workers.listed(await (await session.client()).workers.list())


def _run_fleet(
    session: Session, command: Sequence[str], processes: int, drain_seconds: float, folders: Sequence[Path] | None
) -> int:
    from aiki.process.stderr import detach_stderr
    from aiki_cli.processes.child import Child, say_ready
    from aiki_cli.processes.fleet import Fleet
    from aiki_cli.processes.sources import Sources
    from aiki_cli.processes.worker_process import worker_environment

    detach_stderr()
    return Fleet(
        spawn=lambda: Child(command, environment=worker_environment()),
        size=processes,
        say=session.out.say,
        drain_seconds=drain_seconds,
        sources=Sources(folders) if folders is not None else None,
        on_ready=say_ready,
    ).run()


def _drain_seconds(session: Session, given: str | None) -> float:
    from aiki.manifest import seconds

    of_manifest = session.manifest.worker.drain_seconds if session.manifest else None
    if given is not None:
        return seconds(given)
    return of_manifest if of_manifest is not None else seconds(DEFAULT_DRAIN)
