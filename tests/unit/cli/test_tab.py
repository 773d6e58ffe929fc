"""What TAB offers by the words before the cursor, and by what is kept of a daemon's answers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aiki_cli.tab import answer as answering
from aiki_cli.tab import known
from aiki_cli.tab.answer import answer
from aiki_cli.tab.entries import DAEMON, FILES, Entry
from aiki_cli.tab.known import entries
from aiki_cli.tab.reading import typed

RUN = "01890a5d-ac96-774b-bcce-b302099a8057"
KEPT = [
    Entry("workflow", "order", "version 1, 2"),
    Entry("workflow", "refund", "version 1"),
    Entry("member", "id=", "string, required", of="order", version="1"),
    Entry("member", "cents:=", "integer, required", of="order", version="2"),
    Entry("member", "größe=", "string, optional", of="order", version="2"),
    Entry("event", "approved", of="order", version="2"),
    Entry("event", "returned", of="refund", version="1"),
    Entry("carried", "by=", "string, required", of="approved"),
    Entry("run", RUN, "running", of="order", at=1_700_000_000),
    Entry("schedule", "nightly", "order"),
]
HOSTILE = [
    "$(touch x)",
    "`touch x`",
    "'",
    '"',
    "a b",
    "a;b",
    "-rf",
    "a\\b",
    "~root",
    "*",
    "=ls",
    "a\x1b[2J",
    "a|b",
    "\u202e",
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and nobody who could be asked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(known, "_asked", lambda *_, **__: "")
    return tmp_path / "aiki"


def keep(found, *, seconds: float = known.FRESH_SECONDS) -> Path:
    file = known._file({}, DAEMON)
    assert file is not None
    known._keep(file, "\n".join(entry.line() for entry in found), seconds=seconds)
    return Path(file)


@pytest.fixture
def offered(capfdbinary):
    """Return what is offered for some words; the last of them is unfinished."""

    def press(*words: str, shell: str = "bash") -> list[str]:
        answer([shell, *words])
        return capfdbinary.readouterr().out.decode().splitlines()

    return press


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([""], "commands"),
        (["run", ""], "commands"),
        (["enqueue", ""], "workflows"),
        (["enqueue", "x", ""], "members"),
        (["enqueue", "--key", ""], "any"),
        (["enqueue", "--key", "k", ""], "workflows"),
        (["enqueue", "--key=k", ""], "workflows"),
        (["enqueue", "--wait", ""], "workflows"),
        (["-o", "json", "enqueue", ""], "workflows"),
        (["-ojson", "enqueue", ""], "workflows"),
        (["enqueue", "-p", "@"], "payload"),
        (["enqueue", "--from", ""], "files"),
        (["enqueue", "--fr"], "options"),
        (["run", "list", "--state=b"], "states"),
        (["run", "list", "--workflow", ""], "workflows"),
        (["wait", "a", "b", ""], "runs"),
        (["wait", "--", "-"], "runs"),
        (["why", "a", ""], ""),
        (["nothing", ""], ""),
        (["run", "nothing", ""], ""),
        (["status", "--nothing", "x", ""], "runs"),
        (["worker", "start", "-m", ""], "modules"),
        (["status", "--profile", ""], "profiles"),
        (["completion", ""], "words"),
    ],
)
def test_the_words_before_say_what_belongs_there(words, kind):
    assert typed(words).kind == kind


def test_options_that_were_given_are_offered_again_only_if_they_may_repeat(offered):
    given = offered("run", "list", "--limit", "5", "--state", "failed", "--")
    assert "--limit" not in given
    assert "--state" in given


def test_what_is_known_is_offered_with_what_it_is(offered, monkeypatch):
    keep(KEPT)
    assert offered("enqueue", "o", shell="zsh") == ["words", "order\tversion 1, 2"]
    assert offered("wait", RUN, "") == ["words"]
    assert offered("wait", "@") == ["words", "@last"]
    monkeypatch.setattr(answering, "entries", lambda *_: KEPT)
    for after, age in ((0, "0s"), (59, "59s"), (200, "3m"), (7_300, "2h"), (200_000, "2d"), (-5, "0s")):
        monkeypatch.setattr(answering, "now", lambda after=after: 1_700_000_000.0 + after)
        assert offered("wait", "", shell="fish") == ["words", f"{RUN}\trunning, order, {age} ago"]


def test_members_are_those_of_the_version_that_was_named_else_of_the_last_one(offered):
    keep(KEPT)
    assert offered("enqueue", "order", "") == ["words", "cents:=", "größe="]
    assert offered("enqueue", "order", "cents:=1", "") == ["words", "größe="]
    assert offered("enqueue", "--version", "1", "order", "") == ["words", "id="]


def test_events_are_those_of_the_run_or_the_workflow_that_was_named(offered):
    keep(KEPT)
    assert offered("event", "send", RUN, "") == ["words", "approved"]
    assert offered("event", "send", "refund@key", "") == ["words", "returned"]
    assert offered("event", "send", "--workflow", "refund", "") == ["words", "returned"]
    assert offered("event", "send", "--state", "waiting", "") == ["words", "approved", "returned"]
    assert offered("event", "send", RUN, "approved", "") == ["words", "by="]


@pytest.mark.parametrize("word", HOSTILE)
@pytest.mark.parametrize("shell", answering.SHELLS)
def test_no_word_is_offered_that_a_shell_would_take_for_more(offered, word, shell):
    keep([Entry("workflow", word, "x"), Entry("workflow", "good", f"{word}\n\t{word}")])
    first, *found = offered("enqueue", "", shell=shell)
    assert (first, [line.partition("\t")[0] for line in found]) == ("words", ["good"])
    assert all(line.replace("\t", "").isprintable() for line in found)


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"\0" * 100,
        b"\xff\xfe\n",
        b"workflow\torder\n",
        b"workflow\torder\t\t\t\t\xd9\xa1\n",
        b"[[1]]",
        b"\t" * 10_000,
    ],
)
def test_a_broken_file_offers_nothing(offered, kept):
    keep([]).write_bytes(kept)
    assert offered("enqueue", "") == ["words"]


def test_a_file_that_another_may_write_or_that_is_none_is_passed_over(tmp_path):
    file = keep(KEPT)
    assert entries({}, DAEMON)
    file.chmod(0o666)
    assert not entries({}, DAEMON)
    file.chmod(0o600)
    whole = file.rename(tmp_path / "whole")
    file.symlink_to(whole)
    assert not entries({}, DAEMON)
    file.unlink()
    os.mkfifo(file)
    assert not entries({}, DAEMON)
    file.unlink()
    file.mkdir()
    assert not entries({}, DAEMON)


def test_what_is_kept_is_offered_for_half_a_minute_and_what_failed_for_less():
    file = keep(KEPT)
    assert len(entries({}, DAEMON)) == len(KEPT)
    past = time.time() - known.FRESH_SECONDS - 1
    os.utime(file, (past, past))
    assert not entries({}, DAEMON)
    keep(KEPT, seconds=known.FAILED_SECONDS)
    assert known._read(str(file))[1] >= known.FRESH_SECONDS - known.FAILED_SECONDS
    future = time.time() + 1_000
    os.utime(file, (future, future))
    assert not entries({}, DAEMON)


@pytest.mark.parametrize(("age", "asked"), [(0, []), (11, [False]), (31, [True])])
def test_what_is_older_is_asked_for_anew_and_waited_for_only_where_nothing_is_fresh(monkeypatch, age, asked):
    waits: list[bool] = []

    def ask(*_: object, wait: bool) -> str:
        waits.append(wait)
        return ""

    monkeypatch.setattr(known, "_asked", ask)
    past = time.time() - age
    os.utime(keep(KEPT), (past, past))
    assert (len(entries({}, DAEMON)), waits) == (0 if asked == [True] else len(KEPT), asked)


def test_two_tabs_at_once_leave_one_whole_file(cache):
    for number in range(20):
        if not os.fork():
            keep([Entry("workflow", f"w{number}{place}") for place in range(1_000)])
            os._exit(0)
    for _ in range(20):
        os.wait()
    assert len(entries({}, DAEMON)) == 1_000
    assert [file.stat().st_mode & 0o777 for file in cache.iterdir()] == [0o600]


def test_places_are_told_apart_and_their_files_say_nothing_of_them(monkeypatch):
    names = {known._file(place, DAEMON) for place in ({}, {"--url": "nats://u:secret@h"}, {"--namespace": "x"})}
    monkeypatch.setenv("AIKI_URL", "nats://u:secret@h")
    names.add(known._file({}, DAEMON))
    names.add(known._file({}, FILES))
    assert len(names) == 5
    assert not any("secret" in str(name) for name in names)


def test_a_shell_that_nobody_knows_is_told_nothing(offered):
    assert offered("", shell="tcsh") == []
    assert offered(shell="zsh") == []
