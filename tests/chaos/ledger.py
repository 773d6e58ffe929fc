"""Own the effects ledger: a witness outside Aiki of what tasks really did.

One line per event, appended by one `write` with O_APPEND, so that lines of many processes never mix. A line written
before SIGKILL is kept by the kernel: no test here takes the machine down, so nothing needs a sync.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from aiki import task_run

LEDGER = "CHAOS_LEDGER"
WORKER = "CHAOS_WORKER"


class Effect(msgspec.Struct, frozen=True):
    """A task's body began (`start`), returned (`end`), raised (`error`), was cancelled (`cut`), or paid (`charge`).

    `at` is this machine's clock in µs.
    """

    at: int
    event: str
    run_id: str
    key: str
    attempt: int
    worker: str
    order: str = ""
    """Of a `charge`: what it was for; `key` is the idempotency key then."""


def read(path: Path) -> list[Effect]:
    """Return all effects in the order in which they were written."""
    decoder = msgspec.json.Decoder(Effect)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@contextmanager
def witnessed() -> Iterator[None]:
    """Write the start and the end of the task that runs this block."""
    _write("start")
    try:
        yield
    except Exception:
        _write("error")
        raise
    except BaseException:
        _write("cut")
        raise
    _write("end")


def worker_name() -> str:
    """Return the name of the worker that this process is: that of `WORKER`, or else a worker's own."""
    return os.environ.get(WORKER) or f"{socket.gethostname()}-{os.getpid()}"


def charged(order: str) -> None:
    """Write that the task has paid for an order, by its idempotency key."""
    _write("charge", order)


def _write(event: str, order: str = "") -> None:
    run = task_run()
    key = run.idempotency_key if order else run.key
    effect = Effect(time.time_ns() // 1000, event, run.run_id, key, run.attempt, worker_name(), order)
    line = msgspec.json.encode(effect) + b"\n"
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        written = os.write(file, line)
    finally:
        os.close(file)
    assert written == len(line), "the ledger's disk is full"
