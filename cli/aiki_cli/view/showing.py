"""Own how what was found is written: the one place that asks in which mode.

Whatever of it goes on is closed before this returns, also when whoever reads it has gone.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiki_cli.view.found import Changes, Drawing, End, Found, Line, Lines, Pages, Rows, Text, Watched
from aiki_cli.view.output import Mode, Output, is_terminal
from aiki_cli.view.text import to_json, tsv_cell

if TYPE_CHECKING:
    from aiki_cli.view.board import Board
    from aiki_cli.view.choice import Choice
    from aiki_cli.view.watching import Watcher

T = TypeVar("T")

_AT_THE_END: Final = {Mode.JSON, Mode.TABLE}
"""Where lines are shown as a whole, if they make one."""
_SETTLE_SECONDS: Final = 0.5
"""How long the end of a run that has come may take to be told to those who watch it."""


async def show(found: Found, out: Output) -> End:
    """Write what was found as it comes, and return what it came to; its error only if that has still to be told."""
    match found:
        case Lines():
            end = await _show_lines(found, out)
        case Changes():
            end = await _show_changes(found, out)
        case Pages():
            end = await _show_pages(found, out)
        case _:
            end = show_at_once(found, out)
    return _concluded(end, out)


def show_at_once(found: Text | Line | Rows, out: Output) -> End:
    """Write what is all there."""
    match found:
        case Text():
            out.write(found.text)
        case Line():
            _write_line(found, out)
        case Rows():
            _write_rows(found, out)
            return found.end
    return End()


def _concluded(end: End, out: Output) -> End:
    if end.said is not None:
        out.say(end.said)
    if out.mode.is_json:  # what went wrong stands in the result
        return End(end.code)
    if end.problem is not None:
        out.say(end.problem)
    return end


async def _show_lines(found: Lines[Any], out: Output) -> End:
    things = found.things
    if found.total is not None and out.talkative:
        things = _counted(things, found)
    if found.watched is not None and not out.quiet:
        things = _awaited(things, found.watched, out)
    async with aclosing(things):
        if found.whole is not None and out.mode in _AT_THE_END:
            rows = await found.whole(things)
            return show_at_once(rows, out)
        if found.named is not None and out.mode is Mode.JSON:
            await _write_members(found.named, (found.line(thing) async for thing in things), out)
        else:
            async for thing in things:
                _write_line(found.line(thing), out)
    return found.end()


async def _write_members(name: str, lines: AsyncIterator[Line], out: Output) -> None:
    """Write one document that holds all lines, each as it comes: however many they are, none of them is held."""
    between = f"{{{to_json(name)}:["
    async for line in lines:
        out.write(between + to_json(line.value))
        between = ","
    out.write("]}" if between == "," else f"{between}]}}")


async def _awaited(things: AsyncGenerator[T, None], watched: Watched[T], out: Output) -> AsyncGenerator[T, None]:
    """Yield the things, and show on stderr what is waited for."""
    import asyncio

    from aiki_cli.view.watching import following, watching

    async with watching(watched.board, out, tells=not out.mode.is_json, draws=True) as watcher:
        followed = asyncio.create_task(following(watcher, watched.feed()))
        try:
            async with aclosing(things):
                async for thing in things:
                    if watched.ends_with(thing):
                        await asyncio.wait([followed], timeout=_SETTLE_SECONDS)
                    if watched.stays_above:
                        watcher.conclude()
                    watcher.step_aside()
                    yield thing
        finally:
            followed.cancel()
            await asyncio.wait([followed])


async def _counted(things: AsyncGenerator[T, None], found: Lines[T]) -> AsyncGenerator[T, None]:
    """Yield the things with a bar on stderr that tells how many have come."""
    from aiki_cli.view.drawing import bar

    with bar(found.total or 0, doing=found.doing, unit=found.unit, is_least=found.is_least) as advance:
        async with aclosing(things):
            async for thing in things:
                yield thing
                advance()


async def _show_changes(found: Changes[Any], out: Output) -> End:
    at_the_end = out.mode in {Mode.JSON, Mode.IDS, Mode.TABLE}
    async with _beside(found.board, out, tells=out.mode is Mode.TABLE) as watcher, aclosing(found.changes) as changes:
        async for change in changes:
            if watcher is not None:
                watcher.take(change)
            if not at_the_end and (line := found.line(change)) is not None:
                _write_line(line, out)
                if watcher is not None:
                    watcher.said()
        if watcher is not None:
            watcher.stays = out.mode is not Mode.TABLE
    if at_the_end:
        _write_rows(found.now(), out)
    return found.now().end


async def _show_pages(found: Pages[Any], out: Output) -> End:
    async with _beside(found.board, out, tells=False) as watcher, aclosing(found.things) as things:
        async for thing in things:
            if watcher is not None:
                watcher.take(thing)
            if watcher is None or not watcher.is_drawn or out.mode is not Mode.TABLE:
                _write_rows(found.rows(thing), out)
    return End()


@asynccontextmanager
async def _beside(board: Board[Any] | None, out: Output, *, tells: bool) -> AsyncGenerator[Watcher[Any] | None, None]:
    """Show a board on stderr, unless lines of the result come on the same screen."""
    if board is None:
        yield None
        return
    from aiki_cli.view.watching import watching

    draws = out.mode is Mode.TABLE or not is_terminal(sys.stdout)
    async with watching(board, out, tells=tells, draws=draws) as watcher:
        yield watcher


def _write_line(line: Line, out: Output) -> None:
    match out.mode:
        case Mode.JSON | Mode.JSONL:
            out.write(to_json(line.value))
        case Mode.IDS:
            if line.id is not None:
                out.write(line.id)
        case Mode.TSV | Mode.TABLE:
            if isinstance(line.plain, str):  # no row, so whatever columns were chosen
                out.write(line.plain)
            elif line.plain is not None:
                out.row(line.plain)


def _write_rows(rows: Rows, out: Output) -> None:
    match out.mode:
        case Mode.JSON:
            out.document(rows.document([line.value for line in rows.lines]))
        case Mode.TABLE:
            for drawing in rows.page() if out.columns is None else _chosen(rows, out.columns):
                _draw(drawing, out)
            for aside in rows.asides:
                out.say(aside)
        case _:
            for line in rows.lines:
                _write_line(line, out)


def _chosen(rows: Rows, columns: Choice) -> Sequence[Drawing]:
    """Return the cells that were chosen of all rows, as a page."""
    from aiki_cli.view.drawing import columns as table

    plain = [line.plain for line in rows.lines]
    texts = [one for one in plain if isinstance(one, str)]
    cells = [columns.pick(one) for one in plain if one is not None and not isinstance(one, str)]
    shown = [[tsv_cell(cell) for cell in row] for row in cells]
    return [*texts, *([table(shown, [name.upper() for name in columns.names])] if shown else [])]


def _draw(drawing: Drawing, out: Output) -> None:
    if isinstance(drawing, str):
        out.write(drawing)
    else:
        from aiki_cli.view.drawing import console

        console().print(drawing)
