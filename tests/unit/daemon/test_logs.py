"""What a line of the log looks like, and what never stands in it."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from aiki.process.visible import lines, one_line
from aikid.logs import JsonFormatter, TextFormatter


def record(message: str, *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    return logging.getLogger("aikid.test").makeRecord("aikid.test", level, "f", 1, message, args, None, extra=extra)


def as_json(line: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JsonFormatter().format(line))
    return found


def test_no_piece_of_a_known_secret_is_logged() -> None:
    address = 'postgresql://aiki:s3"cr\\et@and@more@db/aiki'
    line = record("host %r of %s", "and@more@db", address, url=address, seen=[address])
    for formatter in (JsonFormatter(addresses=[address]), TextFormatter(colour=False, addresses=[address])):
        text = formatter.format(line)
        assert "postgresql://aiki:***@db/aiki" in text
        assert not any(piece in text for piece in ('s3"cr', "et@", "more"))


def test_a_json_line_carries_what_extra_gave() -> None:
    found = as_json(record("claimed %d runs", 3, level=logging.WARNING, namespace="shop"))
    assert found["message"] == "claimed 3 runs"
    assert (found["level"], found["logger"], found["namespace"]) == ("warning", "aikid.test", "shop")
    assert found["at"].endswith("+00:00")


def test_no_value_can_break_a_json_line() -> None:
    line = JsonFormatter().format(record('quote " and\nnewline', odd=object()))
    assert "\n" not in line
    assert json.loads(line)["message"] == 'quote " and\nnewline'


def test_a_traceback_is_kept_without_its_passwords() -> None:
    line = record("failed")
    try:
        raise ValueError("cannot reach postgresql://aiki:s3cret@db/aiki")
    except ValueError:
        line.exc_info = sys.exc_info()
    for formatter in (JsonFormatter(), TextFormatter(colour=False)):
        text = formatter.format(line)
        assert "ValueError: cannot reach postgresql://aiki:***@db/aiki" in text


def test_a_line_for_people_is_short_and_shows_the_hint() -> None:
    text = TextFormatter(colour=False).format(record("no database", level=logging.ERROR, hint="aikid --embedded"))
    assert text[8:] == " error: no database\n  hint: aikid --embedded"
    without = TextFormatter(colour=False, clock=False).format(record("no database"))
    assert without == "no database"


def test_a_message_can_neither_steer_a_terminal_nor_forge_a_line() -> None:
    evil = record("run of %s failed", "a\n12:00:00 all is well\x9b2J\u202e\x1b]0;title\x07", level=logging.ERROR)
    try:
        raise ValueError("b\n12:00:00 all is well\x1b[2J")
    except ValueError:
        evil.exc_info = sys.exc_info()
    text = TextFormatter(colour=False).format(evil)
    assert text == lines(text)
    assert [line for line in text.split("\n")[1:] if not line.startswith("    ")] == []
    as_one = JsonFormatter().format(evil)
    assert as_one == one_line(as_one)
    assert json.loads(as_one)["message"] == "run of a\n12:00:00 all is well\x9b2J\u202e\x1b]0;title\x07 failed"


def test_a_message_cannot_steer_the_terminal() -> None:
    text = TextFormatter(colour=True).format(record("workflow %s", "\x1b[2Jgone", level=logging.ERROR))
    assert text.count("\x1b") == 2  # our own colour, on and off
