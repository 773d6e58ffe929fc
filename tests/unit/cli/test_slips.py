"""What is said of a command or an option that is not there."""

from __future__ import annotations

import pytest

from aiki_cli import app


@pytest.mark.parametrize(
    ("typed", "what", "hint"),
    [
        ("statos", "there is no command aiki statos: did you mean status?", "aiki status"),
        ("run_list", "there is no command aiki run_list: did you mean run list?", "aiki run list"),
        ("run histroy", "there is no command aiki run histroy: did you mean history?", "aiki run history"),
        ("zzz", "there is no command aiki zzz", "aiki --help"),
        (
            "enqueue x --key_field y",
            "there is no option --key_field of aiki enqueue: did you mean --key-field?",
            "aiki enqueue --help",
        ),
        ("status -z", "there is no option -z of aiki status", "aiki status --help"),
    ],
)
def test_a_slip_is_asked_about(typed, what, hint, capsys):
    assert app.run(typed.split()) == 2
    assert capsys.readouterr().err == f"error: {what}\n  hint: {hint}\n"


@pytest.mark.parametrize("group", ["run", "worker"])
def test_a_group_alone_shows_its_commands(group, capsys):
    assert app.run([group]) == 0
    shown = capsys.readouterr()
    assert ("Commands" in shown.out, shown.err) == (True, "")
