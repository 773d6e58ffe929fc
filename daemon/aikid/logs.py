"""Own how the daemon's log looks: JSON, one object a line, for machines; short lines on a terminal.

The secrets of addresses are struck out of every line, whoever wrote it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from aiki.core.addresses import hide
from aiki.process.visible import entry, json_text, one_line

_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS: Final = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31;1"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, what `extra=` gave, and a traceback if there is one."""

    def __init__(self, *, addresses: Sequence[str] = ()) -> None:
        super().__init__()
        self._addresses = addresses

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
        return json_text(json.dumps(self._clear(line), ensure_ascii=False))

    def _clear(self, value: object) -> object:
        """Return `value` as JSON can hold it, without secrets: once quoted, a password reads differently."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {str(name): self._clear(member) for name, member in value.items()}
        if isinstance(value, list | tuple):
            return [self._clear(member) for member in value]
        return hide(str(value), *self._addresses)


class TextFormatter(logging.Formatter):
    """Time of day (with `clock`), level if it is not info, message and hint; coloured if `colour`."""

    def __init__(self, *, colour: bool, clock: bool = True, addresses: Sequence[str] = ()) -> None:
        super().__init__()
        self._addresses = addresses
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
        text = hide(text, *self._addresses)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


def configure(*, level: str, format: str, colour: bool, clock: bool = True, addresses: Sequence[str] = ()) -> None:
    """Send all logging to stderr. `format` is auto, text or json; auto is text on a terminal.

    Without `clock` a line of text begins with its level or message, as a command that ends at once should talk. No
    piece of the secrets of `addresses` is shown.
    """
    as_text = format == "text" or (format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    text = TextFormatter(colour=colour, clock=clock, addresses=addresses)
    handler.setFormatter(text if as_text else JsonFormatter(addresses=addresses))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # They tell each statement, each reconnect: that is for whoever debugs them.
    for noisy in ("alembic", "sqlalchemy", "psycopg", "nats", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
