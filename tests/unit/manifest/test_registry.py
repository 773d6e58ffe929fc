"""What a worker serves: module-level workflows, one per name and version; and how a user's own mistakes are shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aiki.core.errors import ConfigError, UsageError
from aiki.core.frames import written_at
from aiki.definitions.registry import Registry
from aiki.manifest.collecting import collect
from aiki.process.imports import look_first_in

FLOW = """\
from aiki import WorkflowRun, workflow

@workflow(name="{name}", version="{version}")
async def flow(run: WorkflowRun) -> int:
    return 1
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def write(name: str, text: str) -> str:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


def test_module_level_workflows_are_collected_once(module):
    one = module(
        "flows_one", FLOW.format(name="one", version="1") + "again = flow\nurgent = flow.options(priority=9)\n"
    )
    two = module("flows_two", "from flows_one import flow as theirs\n" + FLOW.format(name="two", version="1"))
    registry = collect([one, two])
    assert [(workflow.name, workflow.version) for workflow in registry] == [("one", "1"), ("two", "1")]
    assert len(registry) == 2
    assert registry.get("two", "1") is sys.modules[two].flow
    assert registry.get("two", "2") is None


def test_a_proxy_beside_workflows_is_not_asked_what_it_stands_for(module):
    lazy = "class Lazy:\n    __class__ = property(lambda self: {}['no application'])\nsettings = Lazy()\n"
    assert len(collect([module("flows_proxy", FLOW.format(name="proxy", version="1") + lazy)])) == 1


def test_versions_of_one_name_stand_beside_each_other(module):
    names = [module(f"flows_v{n}", FLOW.format(name="same", version=str(n))) for n in (1, 2)]
    assert len(collect(names)) == 2


def test_two_workflows_of_one_name_and_version_name_both_files(module):
    names = [module(f"twin_{side}", FLOW.format(name="twin", version="1")) for side in ("a", "b")]
    with pytest.raises(ConfigError) as caught:
        collect(names)
    assert "twin_a.py:3" in str(caught.value)
    assert "twin_b.py:3" in str(caught.value)


def test_adding_in_code_refuses_twins_too(module):
    names = [module(f"code_{side}", FLOW.format(name="twin", version="1")) for side in ("a", "b")]
    first, second = (next(iter(collect([name]))) for name in names)
    registry = Registry([first])
    registry.add(first)
    with pytest.raises(UsageError, match="two workflows are 'twin' version '1'"):
        registry.add(second)
    assert (written_at(first.fn) or "").endswith("code_a.py:3")


def test_a_module_without_workflows_is_an_error(module):
    with pytest.raises(ConfigError, match="holds no workflow at its top level"):
        collect([module("flows_none", "x = 1\n")])


def test_an_empty_package_points_to_its_modules(module):
    module("pack.__init__", "")
    module("pack.orders", FLOW.format(name="o", version="1"))
    with pytest.raises(ConfigError) as caught:
        collect(["pack"])
    assert caught.value.hint == "-m pack.orders"


def test_a_missing_module_says_where_was_looked(tmp_path, module):
    with pytest.raises(ConfigError, match=r"no module named 'not_there' \(looked first in ") as caught:
        collect(["not_there.flows"])
    assert str(tmp_path) in str(caught.value)


def test_a_module_that_may_be_meant_is_named(module):
    module("my_pack.__init__", "")
    module("my_pack.orders", "")
    for wrong, meant in (("my_pakc", "-m my_pack"), ("my_pack.order", "-m my_pack.orders")):
        with pytest.raises(ConfigError) as caught:
            collect([wrong])
        assert caught.value.hint == meant


def test_a_users_error_is_shown_from_the_users_first_frame_on(module):
    module("broken_inner", "def f():\n    return 1 / 0\n\nf()\n")
    name = module("broken_outer", "import broken_inner\n")
    with pytest.raises(ConfigError) as caught:
        collect([name])
    lines = str(caught.value).splitlines()
    assert lines[0] == "cannot import 'broken_outer'"
    assert lines[1] == "Traceback (most recent call last):"
    assert "broken_outer.py" in lines[2]
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert "importlib" not in str(caught.value)
    assert Path(__file__).parents[3].joinpath("aiki").as_posix() not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("import not_installed_here\n", "ModuleNotFoundError: No module named 'not_installed_here'"),
        ("def f(:\n", "SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    ],
)
def test_whatever_a_module_raises_is_its_users_error(module, text, last):
    name = module("broken_some", text)
    with pytest.raises(ConfigError) as caught:
        collect([name])
    assert str(caught.value).splitlines()[-1] == last
    assert "broken_some.py" in str(caught.value)


def test_a_users_module_that_hides_one_of_pythons_is_named_when_an_import_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    (tmp_path / "tabnanny.py").write_text("MINE = True\n")
    (tmp_path / "uses_it.py").write_text("from tabnanny import what\n")
    look_first_in([str(tmp_path)])
    with pytest.raises(ConfigError, match="cannot import name 'what'") as caught:
        collect(["uses_it"])
    assert caught.value.hint == f"rename {tmp_path / 'tabnanny.py'}: Python's own code imports it as its own"
    del sys.modules["tabnanny"]
