"""Runs as those see them who watch them, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from aiki import RunStatus, State
from aiki.definitions.view import CallState, CallView, RunView

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN_ID = "019a2b3c-1111-7000-8000-0123456789ab"


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def run(state: State = State.RUNNING, *, run_id: str = RUN_ID, **more: Any) -> RunStatus:
    fields: dict[str, Any] = {
        "run_id": run_id,
        "origin_id": run_id,
        "workflow": "fan-out",
        "version": "1.0.0",
        "attempt": 1,
        "claims": 1,
        "created_at": before(14),
        "started_at": before(13),
    }
    return RunStatus(state=state, **{**fields, **more})


def call(state: CallState, name: str = "resize", *, number: int = 0, **more: Any) -> CallView:
    fields: dict[str, Any] = {"key": f"task:{name}:{number}", "kind": "task", "started_at": before(5)}
    if state in {CallState.DONE, CallState.FAILED}:
        fields["ended_at"] = before(4)
    return CallView(state=state, name=name, **{**fields, **more})


def fan_out(done: int, running: int, **more: Any) -> RunView:
    """Return a run of so many calls; the newest of them run."""
    states = [CallState.DONE] * done + [CallState.RUNNING] * running
    calls = [call(state, number=number) for number, state in enumerate(states)]
    return RunView(**{"status": run(), "calls": calls, "done": done, **more})
