"""Own the error for a run of which the daemon knows nothing."""

from __future__ import annotations

from aiki.core.errors import NotFound
from aiki.core.retention import GONE


def unknown_run(run_id: str, namespace: str) -> NotFound:
    """Return it: there never was such a run, or it is gone."""
    return NotFound(f"run {run_id} does not exist in namespace {namespace!r}: {GONE}")
