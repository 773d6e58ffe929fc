"""The command line, and how the process ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from aiki.core.errors import ConfigError, Denied, FileUnreadable, Overloaded, Unavailable
from aikid.config import OPTIONS, Settings
from aikid.main import _leaves, _parser, _report, _run, main
from aikid.threads import in_thread

SETTINGS = Settings(database_url="postgresql://aiki@db/aiki", nats_url="nats://a")


def test_every_option_has_a_flag_with_help() -> None:
    text = _parser().format_help()
    for option in OPTIONS:
        assert option.flag in text
        assert option.about


def test_flags_that_are_not_given_leave_the_choice_to_others() -> None:
    assert set(vars(_parser().parse_args([])).values()) == {"serve", None}


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--version"], 0), (["--help"], 0), (["--nonsense"], 2), (["fly"], 2)]
)
def test_the_command_line_ends_with_the_usual_codes(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == code
    assert capsys.readouterr()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 78),
        (FileUnreadable("x"), 66),
        (Unavailable("x"), 69),
        (Overloaded("x"), 69),
        (Denied("x"), 77),
        (ValueError("x"), 70),
        (ModuleNotFoundError("x", name="psycopg"), 78),
        (ModuleNotFoundError("x", name="aikid.app"), 70),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert _report(error) == code


def test_the_hint_is_logged_beside_the_message(caplog: pytest.LogCaptureFixture) -> None:
    _report(ConfigError("no database", hint="aikid --embedded"))
    (line,) = caplog.records
    assert (line.levelno, line.getMessage(), vars(line)["hint"]) == (logging.ERROR, "no database", "aikid --embedded")


def test_of_several_errors_each_is_reported() -> None:
    first, second = ConfigError("a"), Unavailable("b")
    assert _leaves(ExceptionGroup("both", [first, ExceptionGroup("inner", [second])])) == [first, second]


def test_a_signal_lets_the_work_clean_up_and_is_no_failure() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            steps.append("cleaned up")

    assert _run(work(), SETTINGS) == 0
    assert steps == ["cleaned up"]


def test_work_beside_the_loop_returns_and_raises() -> None:
    async def both() -> int:
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)
        return await in_thread(lambda: 7)

    assert asyncio.run(both()) == 7
