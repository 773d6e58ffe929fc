"""What is said of a command or an option that is not there."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiki_cli import app
from aiki_cli.tree import paths
from aiki_cli.words.meant import meant_by
from aiki_cli.words.synonyms import NOUNS, PHRASES, VERBS


@pytest.mark.parametrize(
    ("typed", "what", "hint"),
    [
        ("statos", "there is no command aiki statos: did you mean status?", "aiki status"),
        ("run_list", "there is no command aiki run_list: did you mean run list?", "aiki run list"),
        ("run histroy", "there is no command aiki run histroy: did you mean history?", "aiki run history"),
        ("zzz", "there is no command aiki zzz", "aiki --help"),
        (
            "enqueue x --key_field y",
            "there is no option --key_field of aiki enqueue: did you mean --key-field?",
            "aiki enqueue x --key-field y",
        ),
        ("status -z", "there is no option -z of aiki status", "aiki status --help"),
        (
            "enqueue x --json",
            "there is no option --json of aiki enqueue: did you mean -o json?",
            "aiki enqueue x -o json",
        ),
        (
            "wait x --wait-timeout=3s",
            "there is no option --wait-timeout of aiki wait: did you mean --timeout?",
            "aiki wait x --timeout=3s",
        ),
        (
            "run list --status failed --limit 3",
            "there is no option --status of aiki run list: did you mean --state?",
            "aiki run list --state failed --limit 3",
        ),
    ],
)
def test_a_slip_is_asked_about(typed, what, hint, capsys):
    assert app.run(typed.split()) == 2
    assert capsys.readouterr().err == f"error: {what}\n  hint: {hint}\n"


@pytest.mark.parametrize("group", ["run", "worker"])
def test_a_group_alone_shows_its_commands(group, capsys):
    assert app.run([group]) == 0
    shown = capsys.readouterr()
    assert ("Commands" in shown.out, shown.err) == (True, "")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("runs list", "run list"),
        ("list run", "run list"),
        ("list runs --state failed", "run list --state failed"),
        ("RUNS LIST", "run list"),
        ("rnu lsit", "run list"),
        ("lsit rnu", "run list"),
        ("shwo 0199aaaa", "run show 0199aaaa"),
        ("runs", "run list"),
        ("ls", "run list"),
        ("list", "run list"),
        ("worker ls", "worker list"),
        ("workers", "worker list"),
        ("config view", "config show"),
        ("profile use prod", "status --profile prod"),
        ("ps", "run list"),
        ("show 0199aaaa", "run show 0199aaaa"),
        ("cancel 0199aaaa --force", "run cancel 0199aaaa --force"),
        ("logs 0199aaaa", "run history 0199aaaa"),
        ("describe 0199aaaa", "run show 0199aaaa"),
        ("terminate 0199aaaa", "run cancel 0199aaaa"),
        ("signal 0199aaaa approved by=a", "event send 0199aaaa approved by=a"),
        ("schedules", "schedule list"),
        ("schedules nightly", "schedule show nightly"),
        ("cron ls", "schedule list"),
        ("trigger nightly", "schedule trigger nightly"),
        ("workflow execute hello --wait", "enqueue hello --wait"),
        ("workflow describe hello", "workflow show hello"),
        ("run hello name=Ada", "enqueue hello name=Ada"),
        ("run 0199aaaa-0000-7000-8000-000000000000", "run show 0199aaaa-0000-7000-8000-000000000000"),
        ("run wait 0199aaaa", "wait 0199aaaa"),
        ("run status 0199aaaa", "status 0199aaaa"),
        ("event list 0199aaaa", "run history 0199aaaa"),
        ("server start-dev", "dev"),
        ("inspect active", "run list --state running"),
        ("flow-run ls --limit 3", "run list --limit 3"),
        ("-q --profile runs runs list", "-q --profile runs run list"),
        ("runs show 'a b'", "run show 'a b'"),
        ("version", "--version"),
    ],
)
def test_the_words_of_others_and_nouns_out_of_place_are_asked_about_in_a_line_to_be_pasted(typed, meant, capsys):
    assert app.run(shlex.split(typed)) == 2
    told = capsys.readouterr()
    assert told.err.splitlines()[1:] == [f"  hint: aiki {meant}"]
    assert (": did you mean " in told.err, told.out) == (True, "")


def test_what_no_guess_is_close_to_is_not_guessed_at(capsys):
    for typed in ("zzz", "worker zzz", "- list", "run", "run -x"):
        app.run(typed.split())
        assert "did you mean" not in capsys.readouterr().err


def test_a_hint_keeps_no_words_that_would_fill_a_screen_and_no_secret(capsys):
    app.run(["call", "hello", "-p", "x" * 100_000])
    assert capsys.readouterr().err.endswith("  hint: aiki enqueue ...\n")
    app.run(["runs", "list", "--url", "nats://me:secret@there:4222"])
    assert "secret" not in capsys.readouterr().err


def test_each_word_of_the_tables_leads_to_a_command_or_an_option_that_there_is_or_will_be():
    known = set(paths())
    verbs = {path.split()[-1] for path in known}
    assert {verb for verb in VERBS.values() if verb not in verbs} == set()
    assert set(VERBS) & verbs == {"run", "start"}, "what is a verb of ours is a slip only where it stands alone"
    for phrase, command in PHRASES.items():
        assert phrase not in known
        name = command.partition(" -")[0]
        assert name in known | {"--version", "aikid migrate"}, phrase


WORDS = st.lists(
    st.sampled_from(sorted({*NOUNS, *VERBS, *" ".join([*PHRASES, *paths()]).split(), "-o", "a=b"})) | st.text()
)


@settings(max_examples=500)
@given(WORDS)
def test_whatever_is_typed_a_guess_is_a_command_of_ours_with_the_words_behind_it(words):
    meant = meant_by(words)
    if meant is not None:
        command, rest = meant
        name = " ".join(command).partition(" -")[0]
        assert name in {*paths(), "aikid migrate"} or name.startswith("-")
        assert [*rest] == words[len(words) - len(rest) :]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text().map("!".__add__), WORDS)
def test_whatever_is_typed_is_refused_with_a_hint(capsys, first, rest):
    assert app.run([first, *rest]) == 2
    assert "\n  hint: aiki" in capsys.readouterr().err
