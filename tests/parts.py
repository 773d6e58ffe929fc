"""Own the way of tests to the parts of a worker that serves."""

from __future__ import annotations

from aiki.worker import Worker
from aiki.worker.serving import Serving


def parts(worker: Worker) -> Serving:
    """Return what a worker has while its block lasts."""
    assert worker._serving is not None
    return worker._serving
