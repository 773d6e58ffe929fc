"""Own rows as payloads: JSON lines or CSV, read lazily, each with the line it stands on.

In CSV the header names the members: `order.id` is nested, and a column `cents:` holds JSON (an empty cell leaves its
member out). All other cells are text.
"""

from __future__ import annotations

import csv
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from aiki import AikiError, PayloadError
from aiki_cli.failures import UnreadableInput
from aiki_cli.payload import Payload, key_in, parse_object, parse_value, put

MEMORY_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Row:
    """A row that can be enqueued."""

    line: int
    payload: Payload
    key: str | None


@dataclass(frozen=True)
class BadRow:
    """A row that cannot."""

    line: int
    error: AikiError


@dataclass(frozen=True)
class Rows:
    """A file of rows that can be read again from its start."""

    stream: IO[bytes]
    is_csv: bool
    key_field: str | None

    def __iter__(self) -> Iterator[Row | BadRow]:
        self.stream.seek(0)
        text = io.TextIOWrapper(self.stream, encoding="utf-8-sig", newline="" if self.is_csv else None)
        try:
            yield from (self._row(line, source) for line, source in (_csv(text) if self.is_csv else _lines(text)))
        finally:
            text.detach()  # the stream is read again later

    def _row(self, line: int, source: str | Payload | AikiError) -> Row | BadRow:
        if isinstance(source, AikiError):
            return BadRow(line, source)
        try:
            payload = parse_object(source, source="the row") if isinstance(source, str) else _from_cells(source)
            key = key_in(payload, self.key_field) if self.key_field else None
        except AikiError as error:
            return BadRow(line, error)
        return Row(line, payload, key)


@contextmanager
def open_rows(source: str, *, key_field: str | None) -> Iterator[Rows]:
    """Open `source` (a file, or `-`: JSON lines from stdin, kept aside so that they can be read twice).

    Raises UnreadableInput.
    """
    if source == "-":
        with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
            yield Rows(kept, is_csv=False, key_field=key_field)
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 - closed below; only opening may raise this error
    except OSError as error:
        raise UnreadableInput(f"cannot read {source} ({error.strerror})") from error
    with stream:
        yield Rows(stream, is_csv=Path(source).suffix.lower() == ".csv", key_field=key_field)


def _lines(text: io.TextIOWrapper) -> Iterator[tuple[int, str | AikiError]]:
    line = 0
    try:
        for line, content in enumerate(text, 1):
            if content.strip():
                yield line, content
    except UnicodeDecodeError as error:
        yield line + 1, PayloadError(f"not UTF-8 from here on: {error.reason}")


def _csv(text: io.TextIOWrapper) -> Iterator[tuple[int, Payload | AikiError]]:
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header) or not all(header):
            yield 1, PayloadError("the header has an empty or repeated name, and expected each member's name once")
            return
        for cells in reader:
            if not cells:
                continue
            if len(cells) == len(header):
                yield reader.line_num, dict(zip(header, cells, strict=True))
            else:
                yield reader.line_num, PayloadError(f"{len(cells)} cells, and expected {len(header)} as in the header")
    except (csv.Error, UnicodeDecodeError) as error:
        yield reader.line_num, PayloadError(f"not CSV in UTF-8 from here on: {error}")


def _from_cells(cells: Payload) -> Payload:
    payload: Payload = {}
    for name, cell in cells.items():
        if not name.endswith(":"):
            put(payload, name, cell)
        elif cell:
            put(payload, name[:-1], parse_value(cell, source=name))
    return payload
