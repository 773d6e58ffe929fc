"""Own how a worker's log looks on stderr: one line each, with its time, and its level if it is not information.

Errors and names of users end up in it: they can neither steer the terminal nor forge a line.
"""

from __future__ import annotations

import logging
import os

from aiki.process.visible import entry
from aiki_cli.view.secrets import without_secrets


def log_to_stderr(*, quiet: bool) -> None:
    """Send the log to stderr; AIKI_LOG_LEVEL chooses the level, `quiet` leaves errors only."""
    level = "ERROR" if quiet else os.environ.get("AIKI_LOG_LEVEL", "INFO").upper()
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=getattr(logging, level, logging.INFO), handlers=[handler])
    logging.captureWarnings(capture=True)


def warn_briefly_of_code() -> None:
    """Leave of a warning that code has changed what to type: whoever edits it knows the rest, and reads it often."""

    def shorten(record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and record.args:
            record.msg, record.args = "%s", record.args[:1]
        return True

    logging.getLogger("aiki.worker.code").addFilter(shorten)


class Lines(logging.Formatter):
    """Time of day, level if it is not information, message, and the traceback below if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = f"{self.formatTime(record, '%H:%M:%S')} {level}{record.getMessage()}"
        return entry(without_secrets(f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line))
