"""How an error reaches a person or a script."""

from __future__ import annotations

import pytest

from aiki import NotFound
from aiki_cli import failures
from aiki_cli.view.output import Mode


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
