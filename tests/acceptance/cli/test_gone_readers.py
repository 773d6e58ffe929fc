"""Every command with a reader that has gone, and on a full disk: silence and its own code, or a word and code 74."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from aiki_cli.tree import COMMANDS, Group, paths
from tests.acceptance.cli.conftest import AIKI, FLOWS, Done
from tests.servers import warm
from tests.waiting import patient

CALLS = {
    "": "--help",
    "enqueue": "enqueue hello",
    "status": "status",
    "wait": "wait ENDED",
    "why": "why RUN",
    "run list": "run list",
    "run show": "run show ENDED",
    "run history": "run history ENDED",
    "run export": "run export ENDED",
    "run import": "run import export.jsonl",
    "run pause": "run pause RUN",
    "run resume": "run resume PAUSED",
    "run cancel": "run cancel RUN",
    "run wake": "run wake RUN",
    "run retry": "run retry CANCELLED",
    "run move": "run move PAUSED --to-version 2 --force --no-replay",
    "run delete": "run delete CANCELLED --yes",
    "event send": "event send RUN approved",
    "schedule list": "schedule list",
    "schedule show": "schedule show nightly",
    "schedule next": "schedule next nightly",
    "schedule create": "schedule create NEW hello --every 1h",
    "schedule update": "schedule update nightly --every 2h",
    "schedule trigger": "schedule trigger nightly",
    "schedule backfill": "schedule backfill nightly --from 2026-01-01 --to 2026-01-02 --yes",
    "schedule pause": "schedule pause nightly",
    "schedule resume": "schedule resume nightly",
    "schedule delete": "schedule delete SCHEDULE --yes",
    "workflow list": "workflow list",
    "workflow show": "workflow show hello",
    "check": "check -m flows",
    "apply": "apply",
    "replay": "replay --file export.jsonl -m flows",
    "completion": "completion bash",
    "worker list": "worker list",
    "config show": "config show",
    "config profiles": "config profiles",
    "help": "help",
}
"""A call of each command that prints, by its path."""

LONG_LIVED = {"dev", "worker start"}
"""They print nothing on stdout."""

KINDS = [
    "enqueue hello",
    "status",
    "wait ENDED",
    "wait ENDED ENDED-TOO",
    "run list",
    "run show ENDED",
    "run history ENDED",
]
"""Lines, rows, pages and documents: each is written in its own way."""
HAVE_NO_IDS = {"status", "run history ENDED"}

TOLD = ["--version", "-q --version", "run", "run list --help", "completion zsh"]
"""What is no result of a command of the tree."""

MANIFEST = """
aiki: 1
project: p
modules: {flows: [flows]}
schedules: {daily: {workflow: hello, every: 1d}}
profiles: {lab: {client: {namespace: lab}}}
"""

NOTHING_THERE = {"HOME": "/proc/nowhere", "NO_COLOR": "1", "COLUMNS": "60", "TERM": "dumb"}
"""A home that nobody can write to, on a narrow screen without colours."""

Prints = Callable[..., Done]


def walked() -> Iterator[str]:
    yield ""
    for path in paths():
        place = COMMANDS
        for word in path.split():
            found = place[word]
            place = found.commands if isinstance(found, Group) else {}
        if not place:
            yield path


@pytest.fixture(scope="module")
def place(environment: Mapping[str, str], worker: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    (folder / "flows.py").write_text(FLOWS)
    (folder / "aiki.yaml").write_text(MANIFEST)
    return folder


@pytest.fixture(scope="module")
def prints(environment: Mapping[str, str], place: Path) -> Prints:
    """Run `aiki` with a stdout of some kind."""

    def run(words: list[str], stdout: str = "file") -> Done:
        with TemporaryFile() as nothing, TemporaryFile() as out, TemporaryFile() as said:
            if stdout == "full":
                descriptor = os.open("/dev/full", os.O_WRONLY)
            else:
                reads, descriptor = os.pipe()
                os.close(reads)
            with os.fdopen(descriptor, "wb", buffering=0) as broken:
                streams = (nothing, out if stdout == "file" else broken, said)
                env = {**environment, **NOTHING_THERE}
                process = warm.start([*AIKI, *words], streams, env=env, cwd=place, session=False)
                code = process.wait(patient(60))
            out.seek(0)
            said.seek(0)
            return Done(code, out.read().decode(), said.read().decode())

    return run


@pytest.fixture(scope="module")
def call(prints: Prints, place: Path) -> Callable[[str], list[str]]:
    """Return the words of a call, in which each name of a run stands for one that no other call has."""
    (place / "rows.jsonl").write_text("{}\n" * 200)
    sleepers = iter(prints(["enqueue", "sleeper", "--from", "rows.jsonl", "-o", "ids"]).lines)
    ended = prints(["enqueue", "hello", "--from", "rows.jsonl", "--wait", "-o", "ids"]).lines
    assert prints(shlex.split("schedule create nightly hello --every 1h")).code == 0
    (place / "export.jsonl").write_text(prints(["run", "export", ended[0]]).out)
    orders = {"PAUSED": "pause", "CANCELLED": "cancel"}
    numbers = iter(range(1000))

    def name_for(match: re.Match[str]) -> str:
        word = match[0]
        if word in {"NEW", "SCHEDULE"}:
            name = f"one-{next(numbers)}"
            if word == "SCHEDULE":
                assert prints(["schedule", "create", name, "hello", "--every", "1h"]).code == 0
            return name
        if word.startswith("ENDED"):
            return ended[word == "ENDED-TOO"]
        run_id = next(sleepers)
        if word in orders:
            assert prints(["run", orders[word], run_id]).code == 0
        return run_id

    def words(typed: str) -> list[str]:
        return shlex.split(re.sub(r"\b(RUN|PAUSED|CANCELLED|ENDED-TOO|ENDED|NEW|SCHEDULE)\b", name_for, typed))

    return words


def test_every_command_is_called_here() -> None:
    assert set(walked()) - LONG_LIVED - set(CALLS) == set()


@pytest.mark.parametrize("path", sorted(set(walked()) - LONG_LIVED))
def test_a_reader_that_has_gone_is_silence_and_a_full_disk_is_code_74(
    path: str, call: Callable[[str], list[str]], prints: Prints
) -> None:
    whole = prints(call(CALLS[path]))
    assert (whole.code in {0, 6}, bool(whole.out)) == (True, True), whole
    assert "\x1b" not in whole.out + whole.err
    gone = prints(call(CALLS[path]), "gone")
    assert (gone.code, without_names(gone.err) in {"", without_names(whole.err)}) == (whole.code, True), gone
    full = prints(call(CALLS[path]), "full")
    assert full.code == (whole.code or 74)
    assert full.err.endswith("error: stdout could not be written (No space left on device)\n")


@pytest.mark.parametrize("mode", ["json", "jsonl", "tsv", "ids", "table"])
def test_each_kind_of_result_on_a_full_disk_is_code_74_in_each_mode(
    mode: str, call: Callable[[str], list[str]], prints: Prints
) -> None:
    for kind in KINDS if mode != "ids" else set(KINDS) - HAVE_NO_IDS:
        full = prints([*call(kind), "-o", mode], "full")
        assert (full.code, "No space left on device" in full.err) == (74, True), kind
        if mode.startswith("json"):
            assert json.loads(full.err)["error"]["exit"] == 74


def test_what_is_no_result_of_a_command_is_whole_or_code_74(prints: Prints) -> None:
    for words in map(shlex.split, TOLD):
        assert (prints(words, "gone").code, prints(words, "gone").err) == (0, ""), words
        full = prints(words, "full")
        assert (full.code, "No space left on device" in full.err) == (74, True), words


def without_names(said: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|one-[0-9]+|[0-9.]+ m?s|20[0-9-]+T[0-9:]+Z", "…", said)


@pytest.mark.parametrize("typed", ["status --watch", "status RUN --watch"])
def test_a_view_that_goes_on_ends_when_its_reader_has_gone(
    typed: str, call: Callable[[str], list[str]], prints: Prints
) -> None:
    for mode in ("tsv", "jsonl"):
        gone = prints([*call(typed), "-o", mode], "gone")
        assert (gone.code, gone.err) == (0, "")
        assert prints([*call(typed), "-o", mode], "full").code == 74
