"""What the help says can be typed, and is true of the code: examples, exit codes, variables, the manifest."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiki import manifest
from aiki_cli import app, exits, tree
from aiki_cli.helped import below
from aiki_cli.tab.grammar import COMMANDS as COMMANDS_OF_TAB
from aiki_cli.words import endings, topics, variables
from aiki_cli.words.examples import EXAMPLES

ROOT = Path(__file__).parents[3]
GROUPS = {path.rpartition(" ")[0] for path in tree.paths()} - {""}
COMMANDS = sorted(set(tree.paths()) - GROUPS)
COLUMNS = 80


def typed(line: str) -> list[list[str]]:
    """Return the words after each `aiki` of a line, as a shell hands them over."""
    inside = re.findall(r"\$\((aiki [^)]*)\)", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = []
    for word in lexer:
        if word == "aiki" or set(word) <= set("|<>()&;"):
            found.append([])
        elif found:
            found[-1].append(word)
    return [words for words in found if words and words[0] in tree.COMMANDS] + [
        words for one in inside for words in typed(one)
    ]


def parse(words: list[str]) -> str:
    """Read words as the command line does, without running anything, and return the command. Raises as Typer does."""
    command: Any = app.build(markup=False)
    context = command.make_context("aiki", list(words))
    path: list[str] = []
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        path.append(name)
        context = command.make_context(name, rest, parent=context)
    return " ".join(path)


def test_no_command_is_told_of_that_is_not_there():
    assert set(EXAMPLES) == set(endings.ENDINGS) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_two_examples_that_can_be_typed(command):
    assert len(EXAMPLES[command]) >= 2
    assert len(set(EXAMPLES[command])) == len(EXAMPLES[command])
    for line in EXAMPLES[command]:
        assert len(f"  {line}") < COLUMNS
        assert command in [parse(words) for words in typed(line)], line


def test_examples_stand_in_one_place():
    for path in (ROOT / "cli" / "aiki_cli" / "commands").glob("*.py"):
        assert not re.findall(r"^    aiki .*$", path.read_text(), re.MULTILINE), path.name


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_with_which_codes_it_ends(command):
    assert set(endings.ENDINGS[command]) <= set(endings.MEANINGS)
    told = below(command)
    assert "Examples:" in told
    assert "Exit codes: 0 " in told
    assert max(map(len, told.splitlines())) < COLUMNS


def test_each_exit_code_has_a_meaning():
    assert set(endings.MEANINGS) == {value for value in vars(exits).values() if isinstance(value, int)}


def test_each_variable_that_is_read_is_told_of():
    names = set()
    for package in (ROOT / "aiki", ROOT / "cli"):
        for path in package.rglob("*.py"):
            names |= set(re.findall(r"""["'`(]((?:AIKI)_[A-Z_]+)["'`)]""", path.read_text()))
    told = {name for name in variables.VARIABLES if name.startswith("AIKI_")}
    assert told.isdisjoint(variables.UNTOLD)
    assert names - {"AIKI_RUNS", "AIKI_SHOP_URL", "AIKI_PROD_URL"} == told | variables.UNTOLD


@pytest.mark.parametrize("name", topics.TOPICS)
def test_a_topic_fits_a_screen_and_what_it_says_can_be_typed(name):
    text = topics.TOPICS[name].text()
    assert max(map(len, text.splitlines())) < COLUMNS
    for line in text.splitlines():
        if line.startswith("  aiki ") or "| aiki " in line:
            for words in typed(line.split("   ")[0].split(" #")[0]):
                assert parse(words), line


def test_the_manifest_of_the_help_is_one(tmp_path):
    lines = topics.TOPICS["manifest"].text().splitlines()
    first = lines.index("  aiki: 1                          # the format")
    text = "\n".join(line[2:] for line in lines[first : lines.index("", first)])
    (tmp_path / "src").mkdir()
    read = manifest.parse(text.encode(), tmp_path / "aiki.yaml")
    assert (read.project, set(read.schedules), set(read.profiles)) == ("shop", {"nightly"}, {"prod"})


def test_tab_knows_the_topics():
    (kind,) = COMMANDS_OF_TAB["help"][3]
    assert kind == f"words:{' '.join(sorted([*topics.TOPICS, 'json']))}+"


@pytest.mark.parametrize(
    "words", [[], ["exit-codes"], ["json"], ["json", "run", "list"], ["run", "list"], ["run list"], ["run"], ["help"]]
)
def test_help_is_told_on_stdout(words, capsys):
    assert app.run(["help", *words]) == 0
    assert capsys.readouterr().out.strip()


def test_the_help_of_a_command_is_what_its_own_option_shows(capsys):
    app.run(["help", "run", "list"])
    told = capsys.readouterr().out
    app.run(["run", "list", "--help"])
    assert told == capsys.readouterr().out
    assert "aiki run list --state failed" in told


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["exit-code"], "exit-codes"), (["run", "lst"], "run list"), (["json", "run", "lists"], "json run list")],
)
def test_an_unknown_topic_is_refused_with_the_one_that_may_be_meant(words, meant, capsys):
    assert app.run(["help", *words]) == 2
    assert f"hint: aiki help {meant}" in capsys.readouterr().err


def test_who_asks_for_no_help_imports_none():
    probe = "import sys; from aiki_cli.app import run; run(['run', 'list', '--url', 'x']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    late = ("words.examples", "words.endings", "words.topics", "view.schemas", "view.columns", "view.json_schema")
    assert not {f"aiki_cli.{name}" for name in late} & set(done.stdout.split())


def test_what_the_readme_types_can_be_typed():
    blocks = re.findall(r"```\w*\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    commands = [words for line in lines if line.startswith("aiki ") for words in typed(re.split(r"\s#", line)[0])]
    assert len(commands) > 20
    for words in commands:
        assert parse(words)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_takes_what_all_take(command):
    found: Any = app.build(markup=False)
    for word in command.split():
        found = found.commands[word]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {"-o", "-q", "--columns", "--url", "--namespace", "--profile", "-f"} <= options
