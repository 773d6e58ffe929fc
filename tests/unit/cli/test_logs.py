"""What a line of a worker's log looks like, and what it cannot do."""

from __future__ import annotations

import logging
import sys

from aiki_cli.processes.logs import Lines


def shown(level: int, message: str, *, error: bool = False) -> str:
    return Lines().format(logging.LogRecord("aiki", level, "f", 1, message, (), sys.exc_info() if error else None))


def test_a_line_has_its_time_and_its_level_unless_it_is_information():
    assert shown(logging.INFO, "serves hello")[8:] == " serves hello"
    assert shown(logging.WARNING, "slow")[8:] == " warning: slow"


def test_a_message_can_neither_steer_a_terminal_nor_forge_a_line():
    try:
        raise ValueError("x\n12:00:00 all is well\x1b[2J")
    except ValueError:
        text = shown(logging.ERROR, "run y\n12:00:00 all is well\x9b\u202e\x1b]0;t\x07 failed", error=True)
    first, *others = text.split("\n")
    assert first.endswith("error: run y")
    assert others[0] == r"    12:00:00 all is well\x9b\u202e\x1b]0;t\x07 failed"
    assert others[-1] == r"    12:00:00 all is well\x1b[2J"
    assert all(line.startswith("    ") for line in others)
