"""Own one worker in this process: its log, its workflows, and what signals do to it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any, Final, NoReturn

from aiki import Worker
from aiki.manifest import overrides
from aiki.manifest.collecting import collect, load_lifespan
from aiki.process.imports import look_first_in
from aiki.process.parent import watch_parent
from aiki.process.signals import end_at_once, obeying
from aiki.process.stderr import detach_stderr
from aiki.process.stdout import leave_to_user_code
from aiki_cli import exits
from aiki_cli.processes.child import say_ready
from aiki_cli.processes.logs import log_to_stderr, warn_briefly_of_code
from aiki_cli.processes.reconciling import reconcile
from aiki_cli.running import in_loop, uvloop_factory
from aiki_cli.session import Session

GC_THRESHOLDS: Final = (50_000, 20, 50)
OVERTIME_SECONDS: Final = 15.0
"""After the drain: how long the rest of the end may take."""


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker runs; `folders` come first when its modules are imported."""

    folders: Sequence[Path]
    max_concurrent_runs: int
    drain_seconds: float
    lease: str
    start_timeout: str
    lifespan: str | None = None
    id: str | None = None
    applies: bool = False
    """Whether it makes the manifest's schedules what it declares, and does not only tell what differs."""


def serve(session: Session, modules: Sequence[str], options: WorkerOptions) -> int:
    """Serve the workflows of `modules` until a signal; return 0 once drained.

    Raises ConfigError if they cannot be imported, Unavailable if no daemon answers within the start timeout, and
    Denied if NATS refuses for so long, then or later.
    """
    detach_stderr()
    leave_to_user_code()
    log_to_stderr(quiet=session.common.quiet)
    if options.applies:
        warn_briefly_of_code()
    uvloop_factory()  # imported before a module of users may have its name
    look_first_in([str(folder) for folder in options.folders])
    registry = collect(modules)
    if session.manifest:
        overrides.apply(session.manifest.workflows, registry, file=session.manifest.file)
    lifespan = load_lifespan(options.lifespan) if options.lifespan else None

    # What is loaded stays, and a run leaves no cycles: looking for them at every 700 objects costs a tenth of the CPU.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

    async def run() -> int:
        # Left after all else: a second signal must find it during the drain, too.
        with ExitStack() as signals:
            async with session.connect(patience=options.start_timeout) as client:
                worker = Worker(
                    client,
                    workflows=registry,
                    id=options.id,
                    max_concurrent_runs=options.max_concurrent_runs,
                    drain=timedelta(seconds=options.drain_seconds),
                    lease=options.lease,
                    start_timeout=options.start_timeout,
                    lifespan=lifespan,
                )
                signals.enter_context(_draining(session, worker, options.drain_seconds))
                async with worker:
                    say_ready()
                    await _run(worker, reconcile(session.manifest, client, registry, applies=options.applies))
        return exits.OK

    return in_loop(run, fast=True)


async def _run(worker: Worker, aside: Coroutine[Any, Any, None]) -> None:
    """Serve until stopped, and do something beside it that no stop waits for."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(aside)
        await worker.run()
        task.cancel()


def _draining(session: Session, worker: Worker, drain_seconds: float) -> AbstractContextManager[None]:
    """Drain at the first signal or the end of the process that started us; a second signal ends this one at once.

    Stop first, speak then: no word is worth a stop.
    """
    loop = asyncio.get_running_loop()

    def stop(number: Signals) -> None:
        loop.call_soon_threadsafe(worker.stop)
        end_by_then = threading.Thread(target=_end_after, args=(session, drain_seconds + OVERTIME_SECONDS, number))
        end_by_then.daemon = True
        end_by_then.start()
        session.out.say(f"draining for at most {drain_seconds:g} s; Ctrl-C again gives up at once")

    def on_orphaned() -> None:
        with suppress(RuntimeError):  # it has ended already
            loop.call_soon_threadsafe(worker.stop)
        _end_after(session, drain_seconds + OVERTIME_SECONDS, Signals.SIGTERM)

    watch_parent(on_orphaned)
    return obeying(stop, Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP, again=partial(_give_up, session))


def _end_after(session: Session, seconds: float, number: Signals) -> None:
    """End the process if it still is there after so long: user code may hold its loop, or an exit its threads."""
    time.sleep(seconds)
    _give_up(session, number)


def _give_up(session: Session, number: Signals) -> NoReturn:
    """End without another step: the lease runs out, and other workers go on with the runs."""
    session.out.say("gave up; other workers go on with the runs when the lease is over")
    end_at_once(number)
