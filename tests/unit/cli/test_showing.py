"""What a command found, in each mode: the commands know none, so each kind of finding has to look right in all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from aiki import UsageError
from aiki.client.matching import RunCount
from aiki_cli.view.found import Changes, End, Found, Line, Lines, Pages, Rows, Text
from aiki_cli.view.output import Mode, NobodyReads, Output
from aiki_cli.view.runs import counted
from aiki_cli.view.showing import show

THINGS = (1, 2)


def line(number: int) -> Line:
    return Line({"n": number}, ["thing", number], f"id-{number}")


def rows(*numbers: int, end: End | None = None) -> Rows:
    return Rows(
        map(line, numbers),
        page=lambda: [f"page of {len(numbers)}", "its foot"],
        document=lambda values: {"things": values},
        asides=["there are more"],
        end=end or End(),
    )


async def come(*numbers: int) -> AsyncGenerator[int, None]:
    for number in numbers:
        yield number


async def whole(numbers: AsyncIterator[int]) -> Rows:
    return rows(*[number async for number in numbers])


def written(found: Found, mode: Mode, capsys: pytest.CaptureFixture[str]) -> list[str]:
    asyncio.run(show(found, Output(mode)))
    return capsys.readouterr().out.splitlines()


JSON_LINES = ['{"n":1}', '{"n":2}']
TSV_LINES = ["thing\t1", "thing\t2"]
IDS = ["id-1", "id-2"]
DOCUMENT = ['{"things":[{"n":1},{"n":2}]}']
PAGE = ["page of 2", "its foot"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.JSON, DOCUMENT),
        (Mode.JSONL, JSON_LINES),
        (Mode.TSV, TSV_LINES),
        (Mode.IDS, IDS),
        (Mode.TABLE, PAGE),
    ],
)
def test_rows_are_one_document_a_line_each_or_a_page(mode: Mode, expected: list[str], capsys) -> None:
    assert written(rows(*THINGS), mode, capsys) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.JSON, JSON_LINES),
        (Mode.JSONL, JSON_LINES),
        (Mode.TSV, TSV_LINES),
        (Mode.IDS, IDS),
        (Mode.TABLE, TSV_LINES),
    ],
)
def test_lines_that_make_no_whole_come_one_by_one_in_every_mode(mode: Mode, expected: list[str], capsys) -> None:
    assert written(Lines(come(*THINGS), line), mode, capsys) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.JSON, DOCUMENT),
        (Mode.JSONL, JSON_LINES),
        (Mode.TSV, TSV_LINES),
        (Mode.IDS, IDS),
        (Mode.TABLE, PAGE),
    ],
)
def test_lines_that_make_a_whole_wait_for_it_where_one_is_shown(mode: Mode, expected: list[str], capsys) -> None:
    assert written(Lines(come(*THINGS), line, whole), mode, capsys) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.JSON, DOCUMENT),
        (Mode.JSONL, [JSON_LINES[0], *JSON_LINES]),
        (Mode.TSV, [TSV_LINES[0], *TSV_LINES]),
        (Mode.IDS, IDS),
        (Mode.TABLE, PAGE),
    ],
)
def test_changes_are_lines_and_how_all_stand_at_the_end_is_told_once(mode: Mode, expected: list[str], capsys) -> None:
    changes = Changes(come(1, 1, 2), line, lambda: rows(*THINGS))
    assert written(changes, mode, capsys) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(Mode.JSON, DOCUMENT), (Mode.JSONL, JSON_LINES), (Mode.TSV, TSV_LINES), (Mode.IDS, IDS), (Mode.TABLE, PAGE)],
)
def test_pages_are_shown_whole_each_time(mode: Mode, expected: list[str], capsys) -> None:
    assert written(Pages(come(2, 2), lambda number: rows(*THINGS)), mode, capsys) == [*expected, *expected]


@pytest.mark.parametrize("mode", Mode)
def test_text_is_the_same_for_everybody(mode: Mode, capsys) -> None:
    assert written(Text("complete -F _aiki aiki"), mode, capsys) == ["complete -F _aiki aiki"]


@pytest.mark.parametrize("mode", Mode)
def test_a_line_without_a_form_leaves_none_in_its_mode(mode: Mode, capsys) -> None:
    shown = written(Line({"n": 1}, None), mode, capsys)
    assert shown == ([JSON_LINES[0]] if mode.is_json else [])


@pytest.mark.parametrize("mode", Mode)
def test_what_went_wrong_is_told_beside_a_result_that_does_not_tell_it(mode: Mode, capsys) -> None:
    end = End(7, UsageError("no"), problem="rows were refused", said="follow it")
    told = asyncio.run(show(rows(*THINGS, end=end), Output(mode)))
    said = capsys.readouterr().err.splitlines()
    assert told.code == 7
    assert (told.error is None, "rows were refused" in said) == (mode.is_json, not mode.is_json)
    assert "follow it" in said
    assert ("there are more" in said) == (mode is Mode.TABLE)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", ["lines", "whole", "changes"])
def test_whatever_goes_on_is_closed_when_nobody_reads(mode: Mode, kind: str, capsys) -> None:
    closed = []

    async def seen() -> AsyncGenerator[int, None]:
        try:
            yield 1
            raise NobodyReads
        finally:
            closed.append(mode)

    kinds: dict[str, Found] = {
        "lines": Lines(seen(), line),
        "whole": Lines(seen(), line, whole),
        "changes": Changes(seen(), line, lambda: rows(1)),
    }
    with pytest.raises(NobodyReads):
        asyncio.run(show(kinds[kind], Output(mode)))
    assert closed == [mode]
    capsys.readouterr()


def test_a_line_is_out_before_the_next_thing_has_come(capsys) -> None:
    seen: list[str] = []

    async def slow() -> AsyncGenerator[int, None]:
        yield 1
        seen.append(capsys.readouterr().out)
        yield 2

    asyncio.run(show(Lines(slow(), line), Output(Mode.JSONL)))
    assert [json.loads(text) for text in seen] == [{"n": 1}]


@pytest.mark.parametrize("mode", Mode)
def test_a_count_is_a_number_or_says_that_there_are_more(mode: Mode, capsys) -> None:
    shown = [written(counted(count), mode, capsys) for count in (RunCount(7), RunCount(10_000, capped=True))]
    if mode.is_json:
        assert [json.loads(text) for (text,) in shown] == [
            {"runs": 7, "capped": False},
            {"runs": 10_000, "capped": True},
        ]
    else:
        assert shown == ([[], []] if mode is Mode.IDS else [["7"], ["10000+"]])
