"""Own how what was found is written: the one place that asks in which mode.

Whatever of it goes on is closed before this returns, also when whoever reads it has gone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final, TypeVar

from aiki_cli.view.found import Changes, Drawing, End, Found, Line, Lines, Pages, Rows, Text
from aiki_cli.view.output import Mode, Output
from aiki_cli.view.text import to_json

T = TypeVar("T")

_AT_THE_END: Final = {Mode.JSON, Mode.TABLE}
"""Where lines are shown as a whole, if they make one."""


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
        things = _counted(things, found.total, found.doing, found.unit)
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


async def _counted(things: AsyncGenerator[T, None], total: int, doing: str, unit: str) -> AsyncGenerator[T, None]:
    """Yield the things with a bar on stderr that tells how many have come."""
    from aiki_cli.view.drawing import bar

    with bar(total, doing=doing, unit=unit) as advance:
        async with aclosing(things):
            async for thing in things:
                yield thing
                advance()


async def _show_changes(found: Changes[Any], out: Output) -> End:
    async with aclosing(found.changes) as changes:
        if out.live:
            from aiki_cli.view.drawing import live

            with live(lambda: found.now().page()):
                async for _ in changes:
                    pass
        elif out.mode in {Mode.JSON, Mode.IDS}:
            async for _ in changes:
                pass
            _write_rows(found.now(), out)
        else:
            async for change in changes:
                _write_line(found.line(change), out)
    return found.now().end


async def _show_pages(found: Pages, out: Output) -> End:
    async with aclosing(found.pages) as pages:
        if not out.live:
            async for page in pages:
                _write_rows(page, out)
            return End()
        from aiki_cli.view.drawing import live

        latest = await anext(pages)
        with live(lambda: latest.page()):
            async for page in pages:
                latest = page
    return End()


def _write_line(line: Line, out: Output) -> None:
    match out.mode:
        case Mode.JSON | Mode.JSONL:
            out.write(to_json(line.value))
        case Mode.IDS:
            if line.id is not None:
                out.write(line.id)
        case Mode.TSV | Mode.TABLE:
            if isinstance(line.plain, str):
                out.write(line.plain)
            elif line.plain is not None:
                out.row(line.plain)


def _write_rows(rows: Rows, out: Output) -> None:
    match out.mode:
        case Mode.JSON:
            out.document(rows.document([line.value for line in rows.lines]))
        case Mode.TABLE:
            for drawing in rows.page():
                _draw(drawing, out)
            for aside in rows.asides:
                out.say(aside)
        case _:
            for line in rows.lines:
                _write_line(line, out)


def _draw(drawing: Drawing, out: Output) -> None:
    if isinstance(drawing, str):
        out.write(drawing)
    else:
        from aiki_cli.view.drawing import console

        console().print(drawing)
