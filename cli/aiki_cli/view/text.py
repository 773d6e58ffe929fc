"""Own the one way out for text of users: escaped, as a line, a cell, JSON or what another process has said. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Final

from aiki.process.visible import json_text, lines, one_line
from aiki_cli.view.moments import utc
from aiki_cli.view.plain import to_plain

__all__ = ["coloured", "lines", "one_line", "shortened", "to_json", "tsv_cell"]

_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")


def shortened(text: str, width: int) -> str:
    """Return `text` on one line of at most `width` characters."""
    shown = one_line(text[: width + 1])
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def coloured(line: str) -> str:
    """Return a line that another process wrote for a terminal: its colours stay, until its end; nothing else does."""
    parts = _COLOUR.split(line)
    shown = "".join(part if _COLOUR.fullmatch(part) else lines(part) for part in parts)
    return f"{shown}\x1b[0m" if len(parts) > 1 else shown


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return JSON text, in which C1 and direction marks are escaped as C0 is: the same value.

    Of our own classes it is what `view.plain` says.
    """
    separators = None if indent else (",", ":")
    return json_text(json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=to_plain))


def tsv_cell(value: object) -> str:
    """Return a cell on one line: nothing for None, JSON for objects, and text with backslashes doubled and escapes."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return str(utc(value))
    text = value if isinstance(value, str) else to_json(value)
    return one_line(text.replace("\\", "\\\\"))
