"""Own rows as payloads: JSON lines or CSV, read lazily, each with the line it stands on.

In CSV the header names the members: `order.id` is nested, and a column `cents:` holds JSON (an empty cell leaves its
member out). All other cells are read by the type that the workflow's parameter has (`aiki.payload.typed`). Cells are
separated by commas, in a `.tsv` by tabs, or by what a first line `sep=;` says: a guess could cut a value in two.
"""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Final, cast

from aiki import AikiError, PayloadError
from aiki.core.encoding import NotUtf8, decoded_lines
from aiki.definitions.options import checked_key
from aiki.payload.typed import Cell
from aiki_cli.failures import UnreadableInput
from aiki_cli.words.inputs import remedy, stdin
from aiki_cli.words.payload import Payload, key_in, parse_object, parse_value, put

MEMORY_BYTES: Final = 16 * 1024 * 1024
CELL_CHARS: Final = 16 * 1024 * 1024
"""Python's own limit is 131,072, and a payload may have more."""
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_BY_SUFFIX: Final = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_SAID: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The first line by which Excel is told, and tells, what separates the cells."""
_HEADER: Final = re.compile(r'["\w.:]+(?:[,;\t|]["\w.:]+)+\s*')
"""What no JSON line looks like."""


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
    """A file of rows that can be read again from its start; `source` is its name, or `-`."""

    stream: IO[bytes]
    source: str
    key_field: str | None = None

    def __iter__(self) -> Iterator[Row | BadRow]:
        self.stream.seek(0)
        try:
            for line, found in self._found(decoded_lines(self.stream)):
                yield self._row(line, found)
        except NotUtf8 as error:
            yield BadRow(error.line, PayloadError(error.reason, hint=remedy(error, self.source)))

    def _found(self, lines: Iterator[str]) -> Iterator[tuple[int, str | Payload | AikiError]]:
        """Yield the text of each JSON line, the cells of each row of CSV by their names, or what is wrong there."""
        first = next(lines, "")
        suffix = Path(self.source).suffix.lower()
        if suffix not in _BY_SUFFIX and not _HEADER.fullmatch(first) and not _SAID.fullmatch(first):
            return _json_lines(chain([first], lines))
        if said := _SAID.fullmatch(first):
            # Whoever put that line in front may have put it before a byte order mark.
            return _csv((text.removeprefix("\ufeff") for text in lines), said[1], before=1)
        separator = _BY_SUFFIX.get(suffix, ",")
        others = [other for other in _SEPARATORS if other in first]
        if others and separator not in others:
            return iter([(1, self._separated_by(others[0], instead_of=separator))])
        return _csv(chain([first], lines), separator, before=0)

    def _separated_by(self, found: str, *, instead_of: str) -> PayloadError:
        """Return what to say of a header that is cut by something else."""
        path, quoted = Path(self.source), shlex.quote(self.source)
        if self.source == "-":
            hint = None
        elif found == "\t":
            hint = f"mv {quoted} {shlex.quote(str(path.with_suffix('.tsv')))}"
        else:
            hint = f"sed -i '1i sep={found}' {quoted}   (a first line that says so)"
        expected = f"the separators are {_SEPARATORS[found]}, and expected {_SEPARATORS[instead_of]}"
        return PayloadError(f"{expected}, or a first line sep={found}" if found != "\t" else expected, hint=hint)

    def _row(self, line: int, found: str | Payload | AikiError) -> Row | BadRow:
        if isinstance(found, AikiError):
            return BadRow(line, found)
        try:
            payload = self._parsed(found) if isinstance(found, str) else _from_cells(found)
            key = checked_key(key_in(payload, self.key_field)) if self.key_field else None
        except AikiError as error:
            return BadRow(line, error)
        return Row(line, payload, key)

    def _parsed(self, text: str) -> Payload:
        try:
            return parse_object(text, source="the row")
        except PayloadError as error:
            error.hint = self._as_lines(text)
            raise

    def _as_lines(self, text: str) -> str | None:
        """Return how to make JSON lines of what this line seems to be the beginning of."""
        file = shlex.quote(self.source)
        match text.strip()[0], text.strip()[-1]:
            case "[", _:
                return None if self.source == "-" else f"jq -c '.[]' {file} > rows.jsonl"
            case "{", "}":
                return None
            case "{", _:
                return None if self.source == "-" else f"jq -c . {file} > rows.jsonl"
            case _:
                return "name it .csv or .tsv if it is a table"


@contextmanager
def open_rows(source: str, *, key_field: str | None) -> Iterator[Rows]:
    """Open `source` (a file, or `-` for stdin). Raises UnreadableInput."""
    try:
        stream = opened(source)
    except OSError as error:
        raise UnreadableInput(f"cannot read {source} ({error.strerror or error})") from error
    with stream:
        yield Rows(stream, source, key_field)


def opened(source: str) -> IO[bytes]:
    """Return the file, or what is kept aside of one that cannot be read twice: stdin, or another pipe."""
    if source == "-":
        return _kept(stdin())
    stream = Path(source).open("rb")  # noqa: SIM115 - by whoever gets it
    if stream.seekable():
        return stream
    with stream:
        return _kept(stream)


def _kept(stream: IO[bytes]) -> IO[bytes]:
    kept = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - the same
    shutil.copyfileobj(stream, kept)
    return cast("IO[bytes]", kept)


def _json_lines(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    return ((line, content) for line, content in enumerate(lines, 1) if content.strip())


def _csv(lines: Iterator[str], separator: str, *, before: int) -> Iterator[tuple[int, Payload | AikiError]]:
    """Yield the rows of CSV by their lines, which stand after `before` others."""
    csv.field_size_limit(CELL_CHARS)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = before
    try:
        header = next(reader, [])
        if len(set(header)) < len(header) or not all(header):
            yield before + 1, PayloadError("the header has an empty or repeated name, and expected each member's once")
            return
        if spaced := [name for name in header if name != name.strip()]:
            yield before + 1, PayloadError(f"the header's {spaced[0]!r} has spaces around it, and expected none")
            return
        for cells in reader:
            line = before + reader.line_num
            if len(cells) == len(header):
                yield line, dict(zip(header, cells, strict=True))
            elif cells:
                yield line, PayloadError(f"{len(cells)} cells, and expected {len(header)} as in the header")
    except csv.Error as error:
        yield line + 1, PayloadError(f"not CSV from here on: {error}")


def _from_cells(cells: Payload) -> Payload:
    payload: Payload = {}
    for name, cell in cells.items():
        if not name.endswith(":"):
            put(payload, name, Cell(cell))
        elif cell:
            put(payload, name[:-1], parse_value(cell, source=name))
    return payload
