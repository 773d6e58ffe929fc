"""How results, spans of time, errors and outcomes are shown; and what counts as a change of sources."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest

import aiki
from aiki import AikiError, Conflict, NotFound, Overloaded, State, Unavailable, UsageError
from aiki_cli import exits, failures
from aiki_cli.failures import UnreadableInput
from aiki_cli.processes.sources import Sources
from aiki_cli.view.moments import span
from aiki_cli.view.output import Mode, Output
from aiki_cli.view.text import tsv_cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("text", "text"),
        ("a\tb\nc\\d\r", "a\\tb\\nc\\\\d\\r"),
        ({"é": [1, None]}, '{"é":[1,null]}'),
        (True, "true"),
        (7, "7"),
    ],
)
def test_a_tsv_cell_is_on_one_line(value, cell):
    assert tsv_cell(value) == cell


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 ms"), (0.0123, "12 ms"), (3.44, "3.4 s"), (310, "5m 10s"), (7380, "2h 3m"), (349_200, "4d 1h")],
)
def test_a_span_is_said_as_people_say_it(seconds, text):
    assert span(timedelta(seconds=seconds)) == text


def test_the_mode_is_tsv_where_nobody_looks(capsys):
    assert Output.choose(None, quiet=False).mode is Mode.TSV
    assert Output.choose(Mode.JSON, quiet=False).mode is Mode.JSON
    Output(Mode.TSV, quiet=True).say("talk")
    assert capsys.readouterr().err == ""


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


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (NotFound("x"), 5),
        (Conflict("x"), 6),
        (aiki.PayloadError("x"), 65),
        (UnreadableInput("x"), 66),
        (Unavailable("x"), 69),
        (Overloaded("x"), 75),
        (aiki.ConfigError("x"), 78),
        (aiki.WaitTimeout("x"), 124),
        (AikiError("x"), 70),
        (KeyError("x"), 70),
    ],
)
def test_every_error_has_its_exit_code(error, code, capsys):
    assert failures.report(error, Mode.TSV) == code
    assert capsys.readouterr().err.startswith("error: ")
    assert failures.report(error, Mode.JSON) == code
    assert json.loads(capsys.readouterr().err)["error"]["exit"] == code


def test_an_error_has_its_facts_and_one_hint(capsys):
    failures.report(NotFound("no such run\nin namespace a", hint="aiki run list"), Mode.TABLE)
    assert capsys.readouterr().err == "error: no such run\n  in namespace a\n  hint: aiki run list\n"


def test_a_bug_shows_its_traceback_only_if_asked(capsys, monkeypatch):
    def bug() -> None:
        raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError) as caught:
        bug()
    monkeypatch.delenv("AIKI_DEBUG", raising=False)
    assert failures.report(caught.value, Mode.TSV) == 70
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("AIKI_DEBUG", "1")
    failures.report(caught.value, Mode.TSV)
    assert "Traceback" in capsys.readouterr().err


def test_sources_notice_what_appears_changes_and_vanishes(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / ".git").mkdir()
    package = tmp_path / "flows"
    package.mkdir()
    module = package / "orders.py"
    module.write_text("x = 1")
    sources = Sources([tmp_path])
    assert sources.changed() == []
    os.utime(module, ns=(1, 1))
    assert sources.changed() == [module]
    (tmp_path / "aiki.yaml").write_text("aiki: 1")
    (tmp_path / "data.bin").write_text("")
    (tmp_path / "__pycache__" / "x.py").write_text("")
    (tmp_path / ".git" / "y.py").write_text("")
    assert sources.changed() == [tmp_path / "aiki.yaml"]
    module.unlink()
    assert sources.changed() == [module]
    assert sources.changed() == []
