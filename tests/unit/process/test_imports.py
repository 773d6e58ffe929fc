"""Modules of users come first, and stand in nobody's way."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiki.process.imports import behind_pythons_own, first_folders, hiding, look_first_in
from tests.waiting import patient


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is looked into first, during the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    look_first_in([str(tmp_path)])
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_users_module_comes_before_what_is_installed_and_before_pythons_own(folder: Path) -> None:
    for name in ("fastjsonschema", "tabnanny"):
        sys.modules.pop(name, None)
        (folder / f"{name}.py").write_text("MINE = True")
        assert importlib.import_module(name).MINE
    assert hiding() == [str(folder / "tabnanny.py")]
    assert first_folders() == [str(folder)]


def test_a_folder_that_is_no_package_hides_none_that_is(folder: Path) -> None:
    (folder / "fastjsonschema").mkdir()
    (folder / "only_a_folder").mkdir()
    sys.modules.pop("fastjsonschema", None)
    assert importlib.import_module("fastjsonschema").__file__
    assert list(importlib.import_module("only_a_folder").__path__) == [str(folder / "only_a_folder")]


def test_on_the_path_the_folders_stand_behind_pythons_own(folder: Path) -> None:
    look_first_in([str(folder), "/another"])
    place = sys.path.index(str(folder))
    assert sys.path[place + 1] == "/another"
    assert all("site-packages" not in entry for entry in sys.path[:place])
    assert all("lib-dynload" not in entry for entry in sys.path[place:])
    assert behind_pythons_own([str(folder), "/another"]) == sys.path, "a second time changes nothing"
    assert first_folders() == [str(folder), "/another"]


def test_a_new_process_starts_beside_a_module_that_is_named_like_one_of_pythons(tmp_path: Path) -> None:
    for name in ("token", "queue", "email", "calendar", "types", "selectors"):
        (tmp_path / f"{name}.py").write_text("MINE = True")
    (tmp_path / "tasks.py").write_text("import token, calendar\n\n\ndef add(a, b):\n    return a + b\n")
    program = f"""
import multiprocessing.pool  # and all that it needs
from aiki.process.imports import look_first_in

if __name__ == "__main__":
    look_first_in([{str(tmp_path)!r}])
    from tasks import add
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(add, (1, 2)))
"""
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "main.py").write_text(program)
    command = [sys.executable, "-P", str(tmp_path / "program" / "main.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patient(30), check=False)
    assert (done.stdout, done.returncode) == ("3\n", 0), done.stderr
