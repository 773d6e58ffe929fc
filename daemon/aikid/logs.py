"""Own how the daemon's log looks: JSON, one object a line, for machines; short lines on a terminal.

Passwords in URLs are struck out of every line, whoever wrote it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final

from aiki.process.visible import entry, json_text, one_line

_PASSWORD: Final = re.compile(r"(://[^\s:/@]*:)[^\s/@]+@")
_TOKEN: Final = re.compile(r"\b(nats|tls|wss?)://[^\s:/@]+@")
_PARAMETER: Final = re.compile(r"(\bpassword=)[^\s&'\"]+")
_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS: Final = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31;1"}


def redact(text: str) -> str:
    """Return `text` without the passwords and tokens of the URLs in it."""
    return _PARAMETER.sub(r"\1***", _TOKEN.sub(r"\1://***@", _PASSWORD.sub(r"\1***@", text)))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, what `extra=` gave, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _OWN_FIELDS)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return redact(json_text(json.dumps(line, default=str, ensure_ascii=False)))


class TextFormatter(logging.Formatter):
    """Time of day (with `clock`), level if it is not info, message and hint; coloured if `colour`."""

    def __init__(self, *, colour: bool, clock: bool = True) -> None:
        super().__init__()
        self._colour = colour
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below if there is one."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S ") if self._clock else ""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{time}{level}{record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        text = entry(
            text
        )  # names and errors of users end up here: they can neither steer the terminal nor forge a line
        hint = vars(record).get("hint")
        if hint:
            text += f"\n  hint: {one_line(str(hint))}"
        code = _COLOURS.get(record.levelno)
        text = redact(text)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


def configure(*, level: str, format: str, colour: bool, clock: bool = True) -> None:
    """Send all logging to stderr. `format` is auto, text or json; auto is text on a terminal.

    Without `clock` a line of text begins with its level or message, as a command that ends at once should talk.
    """
    as_text = format == "text" or (format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter(colour=colour, clock=clock) if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # They tell each statement, each reconnect: that is for whoever debugs them.
    for noisy in ("alembic", "sqlalchemy", "psycopg", "nats", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
