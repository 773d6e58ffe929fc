"""Own how text that people have written is read: UTF-8, whatever mark and line ends their editor has given it. Pure.

A byte order mark is no part of the text (Excel, Notepad and PowerShell write one), and lines end as on Unix, Windows
or an old Mac. What is in another encoding is refused by its line, and by its name where that can be told: a guess
would change the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import Final

_MARK: Final = b"\xef\xbb\xbf"
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_UTF32: Final = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")


class NotUtf8(ValueError):
    """Bytes that are no text in UTF-8; `line` counts from 1, `encoding` is what they seem to be in."""

    def __init__(self, line: int, reason: str, encoding: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason
        self.encoding = encoding

    def remedy(self, file: Path) -> str:
        """Return the command that turns the file into UTF-8, under another name."""
        made = file.with_name(f"{file.stem}-utf8{file.suffix}")
        return f"iconv -f {self.encoding} -t UTF-8 {quote(str(file))} > {quote(str(made))}"


def decode(raw: bytes) -> str:
    """Return the text in `raw`, without its byte order mark. Raises NotUtf8."""
    return _decode(raw.removeprefix(_MARK), line=1)


def decoded_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines, each with its end as it is, of a binary file that is open at its start. Raises NotUtf8."""
    line = 1
    for chunk in chunks:
        for text in _LINE.findall(_decode(chunk.removeprefix(_MARK) if line == 1 else chunk, line=line)):
            yield text
            line += 1


def _decode(raw: bytes, *, line: int) -> str:
    if line == 1 and (name := _sixteen_or_more(raw[:4])):
        raise NotUtf8(1, f"it is {name}, and expected UTF-8", name)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line += len(_LINE_END.findall(raw, 0, error.start))
        byte = raw[error.start]
        raise NotUtf8(line, f"the byte 0x{byte:02x} is not UTF-8", "WINDOWS-1252") from None


def _sixteen_or_more(start: bytes) -> str | None:
    """Return the name of an encoding with more than a byte a character, by its mark or by the zeros of plain text."""
    if start in _UTF32 or start.count(0) > 2:
        return "UTF-32"
    return "UTF-16" if start[:2] in _UTF16 or 0 in start[:2] else None
