"""`aiki run export` and `aiki run import`: runs as a file of JSON lines, out of one place and into another."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands.filters import EVERY, KeyedFilter
from aiki_cli.failures import UnreadableInput, UnwritableOutput
from aiki_cli.session import Session
from aiki_cli.words import suggestions
from aiki_cli.words.references import find_all
from aiki_cli.words.rows import opened

if TYPE_CHECKING:
    from aiki.client.importing import ImportOutcome
    from aiki.replay.files import Writer
    from aiki.replay.recording import Recording
    from aiki_cli.view.found import Found, Lines

_PRIVATE: Final = 0o600
"""Payloads stand in the file, and secrets may in them."""


@options.command
async def export(
    session: Session,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
    ] = None,
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help="Where to; only you can read it. Without it, stdout.")
    ] = "-",
    wanted: KeyedFilter = EVERY,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="The newest, at most so many.", rich_help_panel=bulk.MANY)
    ] = None,
) -> Found:
    """Export runs, to be replayed, debugged or looked at elsewhere. Nothing changes here.

    Of each there is its input, its journal, what has come to it, and its story, as JSON lines: a first that says what
    the file is, `run` with `entry`, `try`, `end`, `unread` and `story` behind it, and a last with their number.
    Payloads are in it as they are: treat it like the database.

    Then: aiki replay --file FILE -m NAME, or aiki run import FILE.
    """
    from aiki import UsageError

    hint = "aiki run export RUN --to run.jsonl"
    if limit is not None and references:
        raise UsageError("--limit is for runs that a filter finds", hint=hint)
    if limit is None:
        wanted.is_meant(references or (), command=hint)
    else:
        wanted.check()
    client = await session.client()
    if references:
        return await _exported(client.runs.export(await find_all(client, references), history=True), to)
    return await _exported(client.runs.export(await wanted.runs(client), limit=limit, history=True), to)


@options.command(changes="import runs")
async def import_(
    session: Session,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="What `aiki run export` wrote; - is stdin.")],
) -> Found:
    """Import exported runs, to be looked at: they are never claimed, and obey no order.

    A run that has ended keeps its state, any other is paused, and says what it was. All files are read to their ends
    before the first run is sent. A repeat changes nothing, and completes what was broken off.

    Of each run there is a line; the exit code is the highest: 6 its id is one of a run that was not imported.
    """
    from aiki.replay.files import Reader

    streams = [(session.files.enter_context(_reading(file)), _named(file)) for file in files]
    for stream, name in streams:
        stream.seek(0)
        for _ in Reader(stream, name):
            pass
    client = await session.client()

    async def outcomes() -> AsyncGenerator[ImportOutcome, None]:
        for stream, name in streams:
            stream.seek(0)
            for recording in Reader(stream, name):
                yield await client.runs.import_run(recording)

    return _taken(outcomes())


# -- writing


async def _exported(found: AsyncGenerator[Recording, None], to: str) -> Found:
    from aiki_cli.view import exports

    if to != "-":
        return exports.written(_to_file(found, Path(to)), to)
    return exports.lines(_as_lines(found))


async def _as_lines(found: AsyncGenerator[Recording, None]) -> AsyncGenerator[bytes, None]:
    """Yield the lines of the file."""
    from aiki.replay.files import Writer

    stream = BytesIO()
    writer = Writer(stream)

    def written() -> list[bytes]:
        lines = stream.getvalue().splitlines()
        stream.seek(0)
        stream.truncate()
        return lines

    async with aclosing(found):
        async for recording in found:
            _add(writer, recording)
            for line in written():
                yield line
    _end(writer)
    for line in written():
        yield line


async def _to_file(found: AsyncGenerator[Recording, None], path: Path) -> AsyncGenerator[Recording, None]:
    """Write the file, and yield each run that is in it; it is there when all are."""
    from aiki.replay.files import Writer

    with _writing(path) as stream:
        writer = Writer(stream)
        async with aclosing(found):
            async for recording in found:
                _add(writer, recording)
                yield recording
        _end(writer)


def _add(writer: Writer, recording: Recording) -> None:
    if not writer.runs:
        writer.begin(namespace=recording.namespace, exported_at=recording.exported_at)
    writer.add(recording)


def _end(writer: Writer) -> None:
    if not writer.runs:
        writer.begin(namespace="", exported_at=int(datetime.now(UTC).timestamp()) * 1_000_000)
    writer.end()


@contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of ours beside the one that is meant, which takes its place at the end. Raises UnwritableOutput."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UnwritableOutput(f"cannot write {path} ({error.strerror})") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        Path(name).chmod(_PRIVATE)
        Path(name).replace(path)
    except OSError as error:
        raise UnwritableOutput(f"cannot write {path} ({error.strerror})") from error
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


# -- reading


@contextmanager
def _reading(file: str) -> Iterator[IO[bytes]]:
    try:
        stream = opened(file)
    except OSError as error:
        raise UnreadableInput(f"cannot read {file} ({error.strerror or error})") from error
    with stream:
        yield stream


def _named(file: str) -> str:
    return "stdin" if file == "-" else file


def _taken(outcomes: AsyncGenerator[ImportOutcome, None]) -> Lines[ImportOutcome]:
    from aiki_cli.view import exports

    return exports.imported(outcomes)


def sources(files: Sequence[str]) -> Iterator[tuple[IO[bytes], str]]:
    """Yield the files that are named, open, each with what to call it. Raises UnreadableInput."""
    for file in files:
        with _reading(file) as stream:
            yield stream, _named(file)
