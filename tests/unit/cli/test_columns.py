"""`--columns`: chosen by name, refused before anything is done, shown in the order that was typed."""

from __future__ import annotations

from typing import Any

import pytest

from aiki import UsageError
from aiki_cli import tree
from aiki_cli.app import build
from aiki_cli.view import columns
from aiki_cli.view.choice import Choice
from aiki_cli.view.found import Line, Rows
from aiki_cli.view.output import Mode, Output
from aiki_cli.view.showing import show_at_once

ROWS = Rows([Line({}, ["r-1", "done", 2], "r-1"), Line({}, ["r-2", None, 3], "r-2")], page=lambda: ["all of it"])
CHOICE = Choice("things", [["id", "state", "runs"], ["total"]], ["runs", "state"])


@pytest.mark.parametrize(
    ("mode", "shown"),
    [(Mode.TSV, ["2 done", "3"]), (Mode.TABLE, ["RUNS STATE", "2 done", "3"])],
)
def test_cells_are_shown_in_the_order_that_was_typed(mode, shown, capsys):
    show_at_once(ROWS, Output(mode, columns=CHOICE))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if "─" not in line]
    assert lines == shown


def test_a_row_of_another_kind_does_not_have_them(capsys):
    with pytest.raises(UsageError, match="no column 'runs' here"):
        show_at_once(Line({}, ["a", "b"]), Output(Mode.TSV, columns=CHOICE))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", [Mode.TSV, Mode.TABLE])
def test_what_is_no_row_is_shown_as_it_is(mode, capsys):
    for found in (Line({}, "12"), Rows([Line({}, "12")], page=list)):
        show_at_once(found, Output(mode, columns=CHOICE))
        assert capsys.readouterr().out == "12\n"


def test_a_row_of_another_kind_may_lack_them_where_something_is_done(capsys):
    choice = Choice.of("run pause", columns.kinds("run pause"), "id,state,outcome", may_lack=True)
    show_at_once(Line({}, ["r-1", "paused", None]), Output(Mode.TSV, columns=choice))
    assert capsys.readouterr().out == "r-1\t\tpaused\n"


def test_what_changes_anything_refuses_no_row_once_that_is_done():
    for command in columns.COLUMNS:
        found: Any = build(markup=False)
        for word in command.split():
            found = found.commands[word]
        assert not found.callback.changes or len(columns.kinds(command)) == 1 or command in columns.ORDERS, command


def test_an_unknown_column_is_refused_with_the_names_and_the_one_that_may_be_meant():
    with pytest.raises(UsageError, match="no column 'stat' here: did you mean state") as caught:
        columns.choose("run list", "id,stat", Mode.TSV)
    assert "columns: id, state, workflow" in caught.value.facts[0]
    with pytest.raises(UsageError, match="no column ''"):
        columns.choose("run list", "", Mode.TSV)
    with pytest.raises(UsageError, match="shows no rows"):
        columns.choose("check", "id", Mode.TABLE)


@pytest.mark.parametrize("mode", [Mode.JSON, Mode.JSONL, Mode.IDS])
def test_what_has_no_columns_takes_no_choice(mode):
    with pytest.raises(UsageError, match="--columns is for tables and TSV"):
        columns.choose("run list", "id", mode)


def test_no_two_kinds_of_a_commands_rows_have_as_many_cells():
    for command in columns.COLUMNS:
        assert command in set(tree.paths())
        kinds = columns.kinds(command)
        assert len({len(kind) for kind in kinds}) == len(kinds)
        assert all(len(set(kind)) == len(kind) for kind in kinds)
