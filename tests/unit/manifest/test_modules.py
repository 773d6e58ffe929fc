"""What `-m` means, and where modules are looked for."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from aiki.core.errors import ConfigError, UsageError
from aiki.manifest import load, module_folders, parse, resolve


@pytest.fixture(autouse=True)
def import_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the manifest"):
        load(tmp_path / "aiki.yaml")


def test_a_name_of_the_manifest_stands_for_its_modules(tmp_path):
    manifest = parse(b"aiki: 1\nmodules: {one: [a.b, a.c], two: [a.c, d]}", tmp_path / "aiki.yaml")
    assert resolve(["one"], manifest, []) == ["a.b", "a.c"]
    assert resolve([], manifest, []) == ["a.b", "a.c", "d"]
    assert resolve(["two", "one"], manifest, []) == ["a.c", "d", "a.b"]
    assert resolve(["other.module"], manifest, []) == ["other.module"]


def test_nothing_to_serve_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no module was named"):
        resolve([], None, [])
    with pytest.raises(ConfigError, match="names no modules"):
        resolve([], parse(b"aiki: 1", tmp_path / "aiki.yaml"), [])


def test_a_file_is_no_module():
    with pytest.raises(ConfigError, match="is a file") as caught:
        resolve(["flows/orders.py"], None, [])
    assert caught.value.hint == "-m orders"
    with pytest.raises(ConfigError, match="neither a name of the manifest nor a dotted module"):
        resolve(["or-ders"], None, [])


def test_a_hyphen_asks_for_the_name_or_module_that_is_meant(tmp_path):
    (tmp_path / "my_flows.py").touch()
    manifest = parse(b"aiki: 1\nmodules: {all_flows: [my_flows]}", tmp_path / "aiki.yaml")
    for wrong, meant in (("my-flows", "-m my_flows"), ("all-flows", "-m all_flows")):
        with pytest.raises(ConfigError) as caught:
            resolve([wrong], manifest, [tmp_path])
        assert caught.value.hint == meant


@pytest.mark.parametrize("name", ["__main__", "package.__main__"])
def test_a_program_is_no_module(name, tmp_path):
    with pytest.raises(UsageError, match="is a program, and expected a module") as caught:
        resolve([name], None, [])
    assert caught.value.hint is not None
    with pytest.raises(ConfigError, match="expected a dotted module"):
        parse(f"aiki: 1\nmodules: {{all: [{name}]}}".encode(), tmp_path / "aiki.yaml")


def test_a_module_that_no_importer_has_loaded_ships_no_manifest(monkeypatch):
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))
    assert resolve(["made_by_hand"], None, []) == ["made_by_hand"]


def test_a_package_may_ship_its_own_manifest(tmp_path):
    package = tmp_path / "shipped_flows"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "aiki.yaml").write_text("aiki: 1\nmodules: {all: [shipped_flows.a, shipped_flows.b]}")
    assert resolve(["shipped_flows"], None, [tmp_path]) == ["shipped_flows.a", "shipped_flows.b"]
    assert "shipped_flows" not in sys.modules
    assert str(tmp_path) not in sys.path


def test_the_folders_are_the_working_directory_and_the_path(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "work").mkdir()
    manifest = parse(b"aiki: 1\npath: [src]", tmp_path / "aiki.yaml")
    folders = module_folders(manifest, tmp_path / "work")
    assert folders == [tmp_path / "work", tmp_path / "src"]
