"""Which frames are a user's: neither Aiki's, nor anyio's, nor Python's own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
import pytest

import aiki
from aiki import UsageError, task
from aiki.core import frames

OURS = Path(aiki.__file__).parent


@pytest.mark.parametrize(
    "file",
    [
        OURS / "execution" / "body.py",
        Path(anyio.__file__).parent / "abc" / "_tasks.py",
        Path(os.__file__).parent / "json" / "decoder.py",
        Path("<frozen importlib._bootstrap>"),
    ],
)
def test_a_file_of_ours_or_of_pythons_is_no_users(file: Path) -> None:
    assert not frames.is_users(str(file))


@pytest.mark.parametrize(
    "file",
    [
        Path(__file__),
        OURS.with_name("aiki_flows") / "orders.py",
        Path(anyio.__file__).parents[1] / "anyio_extras" / "more.py",
        Path(os.__file__).parent / "site-packages" / "theirs.py",
        Path("<string>"),
    ],
)
def test_all_other_files_are_users(file: Path) -> None:
    assert frames.is_users(str(file))


def test_the_line_of_a_body_is_the_users_innermost_one_inside_what_steps_it() -> None:
    seen: list[str] = []

    def look(pairs: object) -> object:
        seen.extend(frames.users_lines(sys._getframe(), outermost=step.__code__))
        return pairs

    def step() -> None:
        json.loads("{}", object_pairs_hook=look)

    step()
    assert [line.rpartition(" in ")[2] for line in seen] == ["look"]
    assert seen[0].startswith(f"{__file__}:")


def refused() -> None:
    task(name="no name")(lambda: None)


def test_a_report_of_what_we_refused_begins_and_ends_with_the_users_lines() -> None:
    with pytest.raises(UsageError) as caught:
        refused()
    shown = [Path(frame.filename).name for frame in frames.report(caught.value).stack]
    assert set(shown) == {Path(__file__).name}
    assert frames.users_last_line(caught.value) == f"{__file__}:{refused.__code__.co_firstlineno + 1} in refused"


def test_a_report_of_a_users_error_goes_on_to_where_it_was_raised() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    assert Path(frames.report(caught.value).stack[-1].filename).name == "decoder.py"
    assert (frames.users_last_line(caught.value) or "").startswith(f"{__file__}:")


def test_a_function_is_named_with_its_place_and_what_is_none_by_its_name() -> None:
    line = refused.__code__.co_firstlineno
    assert frames.place(refused) == f"refused ({__file__}:{line})"
    assert frames.place(len) == "len"
