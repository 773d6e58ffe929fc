"""A place on a terminal that is drawn over and over: an emulator shows what became of it."""

from __future__ import annotations

import pyte
import pytest

from aiki_cli.view.screen import Screen


class Terminal:
    """An emulator that is fed with what goes to stderr."""

    def __init__(self, capsys, columns: int = 20, rows: int = 6) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)
        self._capsys = capsys

    def write(self, text: str) -> None:
        self._stream.feed(text)

    @property
    def lines(self) -> list[str]:
        self.write(self._capsys.readouterr().err)
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines


@pytest.fixture
def terminal(capsys) -> Terminal:
    terminal = Terminal(capsys)
    terminal.write("$ aiki wait r\r\n")
    return terminal


def test_each_drawing_takes_the_place_of_the_last(terminal):
    screen = Screen()
    for lines in (["one", "two", "three"], ["a"], ["longer than it", "b"], []):
        screen.draw(lines)
        assert terminal.lines == ["$ aiki wait r", *lines]
    screen.leave(["over"])
    assert terminal.lines == ["$ aiki wait r", "over"]
    terminal.write("$ ")
    assert terminal.lines == ["$ aiki wait r", "over", "$"]


def test_the_same_lines_are_not_written_twice(capsys):
    screen = Screen()
    screen.draw(["one"])
    assert capsys.readouterr().err
    screen.draw(["one"])
    assert capsys.readouterr().err == ""


def test_at_the_foot_of_the_screen_what_stood_there_moves_up_and_nothing_is_doubled(terminal):
    terminal.write("x\r\n" * 10)
    screen = Screen()
    for lines in (["1", "2", "3", "4", "5"], ["6", "7"], ["8", "9", "a", "b", "c"]):
        screen.draw(lines)
        assert [line for line in terminal.lines if line != "x"] == lines


@pytest.mark.parametrize("size", [(10, 6), (5, 6), (60, 6), (20, 30)])
def test_a_terminal_of_another_size_is_drawn_anew(terminal, size):
    screen = Screen()
    screen.draw(["0123456789abcdef", "second", "third"])
    assert terminal.lines
    terminal.screen.resize(size[1], size[0])  # not lower: the emulator then moves the text, but not its cursor
    drawn = ["new"[: size[0]], "lines"[: size[0]]][: size[1] - 1]
    screen.draw(drawn)
    assert [line for line in terminal.lines if not line.startswith("$")] == drawn


def test_a_terminal_that_wraps_its_lines_anew_keeps_the_cursor_where_the_drawing_begins(terminal):
    """As most do: a line that no longer fits takes up two, and the cursor stays with the text."""
    screen = Screen()
    screen.draw(["0123456789abcdef", "second"])
    assert terminal.lines
    cursor = terminal.screen.cursor
    assert (cursor.x, cursor.y) == (0, 1)
    terminal.write("\x1b7" + "01234567\r\n89abcdef\r\nsecond" + "\x1b8")
    screen.draw(["new"])
    assert terminal.lines == ["$ aiki wait r", "new"]


def test_a_line_that_is_too_wide_meanwhile_is_cut_by_the_terminal(terminal):
    screen = Screen()
    screen.draw(["x" * 50, "second"])
    assert terminal.lines == ["$ aiki wait r", "x" * 20, "second"]
    terminal.write("y" * 25)
    assert terminal.lines[1:3] == ["y" * 20, "yyyyyd"]  # and lines of others wrap again
    screen.draw(["z"])


def test_the_cursor_is_shown_again_at_the_end(terminal):
    for end in (Screen.wipe, lambda screen: screen.leave(["over"]), lambda screen: screen.leave([])):
        screen = Screen()
        screen.draw(["one"])
        assert terminal.lines
        assert terminal.screen.cursor.hidden
        end(screen)
        assert terminal.lines
        assert not terminal.screen.cursor.hidden
