"""Own one worker in this process: its log, its workflows, and what signals do to it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn

from aiki import Worker
from aiki.manifest import prepare_path
from aiki.registry import collect
from aiki_cli import exits
from aiki_cli.child import say_ready
from aiki_cli.logs import log_to_stderr
from aiki_cli.session import Session

GC_THRESHOLDS: Final = (50_000, 20, 50)


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker runs; `folders` come first when its modules are imported."""

    folders: Sequence[Path]
    max_concurrent_runs: int
    drain_seconds: float
    lease: str
    start_timeout: str
    id: str | None = None


def serve(session: Session, modules: Sequence[str], options: WorkerOptions) -> int:
    """Serve the workflows of `modules` until a signal; return 0 once drained.

    Raises ConfigError if they cannot be imported, Unavailable if no daemon answers within the start timeout, and
    Denied if NATS refuses for so long, then or later.
    """
    log_to_stderr(quiet=session.common.quiet)
    prepare_path(options.folders)
    registry = collect(modules)

    # What is loaded stays, and a run leaves no cycles: looking for them at every 700 objects costs a tenth of the CPU.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

    async def run() -> int:
        async with session.connect(timeout=options.start_timeout) as client:
            worker = Worker(
                client,
                workflows=registry,
                id=options.id,
                max_concurrent_runs=options.max_concurrent_runs,
                drain=timedelta(seconds=options.drain_seconds),
                lease=options.lease,
                start_timeout=options.start_timeout,
            )
            _drain_on_signals(session, worker, options.drain_seconds)
            async with worker:
                say_ready()
                await worker.run()
        return exits.OK

    return session.run(run, fast=True)


def _drain_on_signals(session: Session, worker: Worker, drain_seconds: float) -> None:
    """Drain at the first SIGTERM or Ctrl-C; a second one ends the process at once."""
    stopping = False

    def stop(number: signal.Signals) -> None:
        nonlocal stopping
        if stopping:
            _give_up(session, number)
        stopping = True
        session.out.say(f"draining for at most {drain_seconds:g} s; Ctrl-C again gives up at once")
        worker.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)


def _give_up(session: Session, number: signal.Signals) -> NoReturn:
    """End without another step: the lease runs out, and other workers go on with the runs.

    An ordinary exit would wait for tasks in threads, which nothing can stop.
    """
    session.out.say("gave up; other workers go on with the runs when the lease is over")
    logging.shutdown()
    os._exit(exits.INTERRUPTED if number is signal.SIGINT else exits.TERMINATED)
