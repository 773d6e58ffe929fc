"""Own how text of users is made visible: what would steer a terminal, break a line or hide itself becomes an escape.

Payloads, errors, keys, names and reasons come from whoever may enqueue, and errors from whoever answers. Shown raw
they could move the cursor, change a window's title, forge a line of a log or a row of a table, or turn the direction
of what stands beside them (CVE-2021-42574, "Trojan Source"). Stored text stays as it is; it is escaped where it is
shown. Pure.

Left as they are: joiners (U+200C, U+200D), without which emoji and some scripts fall apart, and which move nothing.
"""

from __future__ import annotations

import re
from typing import Final

_BEYOND_ASCII: Final = (
    "\x7f-\x9f"  # DEL and C1: some terminals obey the one-byte forms of ESC [ and ESC ]
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks
    "\u2028\u2029"  # ends of lines, to much that reads lines
    "\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # shown as nothing
    "\ud800-\udfff"  # no characters: UTF-8 has no bytes for them
)
_IN_LINE: Final = re.compile(f"[\x00-\x1f{_BEYOND_ASCII}]")
_IN_LINES: Final = re.compile(f"[\x00-\x08\x0b-\x1f{_BEYOND_ASCII}]")
_IN_JSON: Final = re.compile(f"[{_BEYOND_ASCII}]")
_NAMED: Final = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def one_line(text: str) -> str:
    """Return `text` on one line, with every control as its escape: `\\n`, `\\x1b`, `\\u202e`."""
    return _IN_LINE.sub(_escape, text)


def lines(text: str) -> str:
    """Return `text` with its line ends and tabs as they are, and every other control as its escape."""
    return _IN_LINES.sub(_escape, text)


def entry(text: str) -> str:
    """Return `text` as one entry of a log: only its first line begins at the margin, so that no other can be forged."""
    return lines(text).replace("\n", "\n    ")


def json_text(text: str) -> str:
    """Return the same JSON with what JSON lets stand raw in a string, and a terminal would obey, as `\\u....`.

    `text` is the output of an encoder, which has escaped C0 itself.
    """
    return _IN_JSON.sub(_json_escape, text)


def json_escaped(text: str) -> str:
    """Return every character of `text` as JSON escapes it: `\\u00e4`, and two of them beyond the first plane."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    return json_escaped(match[0])
