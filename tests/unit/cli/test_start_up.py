"""The command line starts quickly: what a command does not need, it does not import."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import aiki_cli
from aiki_cli.commands.completion import Shell, script
from aiki_cli.tab import grammar, writing
from aiki_cli.tree import paths

ROOT = Path(__file__).parents[3]
HEAVY = {"rich", "yaml", "sqlalchemy", "psycopg", "fastjsonschema", "pydantic", "uvloop", "ssl", "aikid", "cronsim"}

PROBE = """
import json, sys
arguments = {arguments!r}
if arguments == ["--version"]:
    import aiki_cli.main
    code = 0
else:
    from aiki_cli.app import run
    code = run(arguments)
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded_by(*arguments: str, cwd: Path) -> tuple[int, set[str]]:
    """Return the exit code of `aiki` with `arguments`, and the top-level modules it had imported."""
    probe = PROBE.format(arguments=list(arguments))
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=cwd, timeout=60, check=True
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, {name.partition(".")[0] for name in modules}


def test_the_version_is_answered_before_anything_is_imported(tmp_path):
    _, modules = loaded_by("--version", cwd=tmp_path)
    done = subprocess.run([sys.executable, "-m", "aiki_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"aiki {aiki_cli.__version__}\n"
    assert not modules & {*HEAVY, "typer", "aiki", "asyncio", "msgspec", "importlib_metadata"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["enqueue", "--help"], ["schedule", "create", "--help"], ["completion", "bash"], ["statos"]],
)
def test_help_needs_no_connection(arguments, tmp_path):
    code, modules = loaded_by(*arguments, cwd=tmp_path)
    assert code in {0, 2}
    assert not modules & (HEAVY - {"ssl"})


@pytest.mark.parametrize("arguments", [["status", "-o", "json"], ["enqueue", "hello", "name=Ada"], ["wait", "a@b"]])
def test_what_is_typed_all_day_draws_nothing_and_parses_no_yaml(arguments, tmp_path):
    code, modules = loaded_by(*arguments, "--url", "nats://127.0.0.1:1", cwd=tmp_path)
    assert code == 69
    assert not modules & {*(HEAVY - {"ssl"}), "email", "zipfile", "anyio"}


def test_a_command_imports_no_other_one(tmp_path):
    probe = "import sys; from aiki_cli.app import run; run(['wait', '--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, check=True)
    imported = {name.removeprefix("aiki_cli.commands.") for name in done.stderr.split()}
    assert imported & {path.split()[-1] for path in paths()} == {"wait"}


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.walk_packages(aiki_cli.__path__, "aiki_cli.")], ids=str
)
def test_what_is_imported_late_can_be_imported(name):
    if not name.endswith("__main__"):
        importlib.import_module(name)


def test_the_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert aiki_cli.__version__ == project["version"]


@pytest.mark.parametrize(("shell", "file"), [("bash", "aiki.bash"), ("zsh", "_aiki"), ("fish", "aiki.fish")])
def test_the_completion_scripts_are_those_that_are_generated(shell, file):
    assert (ROOT / "completions" / file).read_text() == script(Shell(shell)), "make completions"


def test_what_tab_knows_of_the_commands_is_what_they_are():
    made: dict[str, object] = {}
    exec(writing.grammar(), made)
    for name in ("COMMON", "PLACE", "STATES", "COLUMNS", "COMMANDS"):
        assert vars(grammar)[name] == made[name], "make completions"


def test_a_tab_imports_no_more_than_it_takes(tmp_path):
    """Of what a fresh interpreter lacks these alone: each costs a TAB more than its answer does."""
    probe = """
import sys
before = set(sys.modules)
from aiki_cli import main
from aiki_cli.tab.answer import answer
answer(["zsh", "enqueue", ""])
print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""
    nobody = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "AIKI_URL": "nats://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, env=nobody, check=True
    )
    imported = {name for name in done.stderr.split() if not name.startswith("aiki_cli")}
    light = {
        "__future__",
        "contextlib",
        "collections.abc",
        "collections",
        "enum",
        "functools",
        "gc",
        "itertools",
        "keyword",
        "operator",
    }
    light |= {"reprlib", "select", "signal", "time", "types", "_blake2", "_collections", "_functools", "_operator"}
    assert imported <= light
