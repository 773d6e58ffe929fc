"""The exit codes, which scripts rely on."""

from __future__ import annotations

import json

import pytest

import aiki
from aiki import AikiError, Conflict, NotFound, Overloaded, State, Unavailable, UsageError
from aiki_cli import exits, failures
from aiki_cli.failures import UnreadableInput
from aiki_cli.view.output import Mode


def test_every_state_has_an_exit_code():
    codes = {state: exits.of_state(state) for state in State}
    assert {state for state, code in codes.items() if code == exits.STILL_GOING} == {
        State.SCHEDULED,
        State.QUEUED,
        State.RUNNING,
        State.SLEEPING,
        State.WAITING,
        State.RETRYING,
    }
    assert (codes[State.COMPLETED], codes[State.FAILED], codes[State.CANCELLED], codes[State.BLOCKED]) == (0, 1, 3, 7)
    assert exits.of_state(State.FAILED, timed_out=True) == 4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (NotFound("x"), 5),
        (Conflict("x"), 6),
        (aiki.RunEnded("x", run_id="r", event="e", result="ended"), 6),
        (aiki.PayloadError("x"), 65),
        (UnreadableInput("x"), 66),
        (Unavailable("x"), 69),
        (Overloaded("x"), 75),
        (aiki.ConfigError("x"), 78),
        (aiki.WaitTimeout("x"), 124),
        (aiki.RunFailed("x", run_id="r", type="E"), 1),
        (aiki.RunTimedOut("x", run_id="r", type="RunTimedOut"), 4),
        (AikiError("x"), 70),
        (KeyError("x"), 70),
    ],
)
def test_every_error_has_its_exit_code(error, code, capsys):
    assert failures.report(error, Mode.TSV) == code
    assert capsys.readouterr().err.startswith("error: ")
    assert failures.report(error, Mode.JSON) == code
    assert json.loads(capsys.readouterr().err)["error"]["exit"] == code
