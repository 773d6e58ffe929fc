"""Where a retry cuts, when it is refused, and what becomes of the children: each sentence of the rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import Raw, structs

from aiki.core.states import TERMINAL, State
from aiki.rules import retrying
from aiki.rules.histories import read
from aiki.rules.retrying import Child, Family, Past
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import Entry, Redone, Retried, Retry

PLAIN = Retry([])


def task(name: str, *, asked: int, ok: bool = True, at: int = 1_000) -> Entry:
    return Entry(f"task:{name}:d:1", ok, Raw(b"1"), at, None, asked)


def past(*journal: Entry, place: int | None = None, state: State = State.FAILED, **more: Any) -> Past:
    """Return a run that has ended with this journal, of which the entry at `place` has failed it."""
    return Past("run", state, 1, read(journal), len(journal), 500, place, **more)


def retried(*journal: Entry, cut: int, attempt: int = 2) -> Sequence[Entry]:
    value = Retried(cut, attempt, 1, key=journal[cut].key if cut < len(journal) else "")
    return [*journal, Entry(f"retry:{attempt}", True, Raw(encode(value)), 1)]


A, B = task("a", asked=0), task("b", asked=1)
BAD = task("bad", asked=2, ok=False)
REFUND = task("refund", asked=3)
CANCEL = Entry("cancel:requested", True, Raw(b"null"), 1, None, 2)
ENDED = Entry("end:flow:d:1", True, Raw(b"null"), 1, None, 2)


# -- where it cuts


def test_the_cut_is_what_failed_the_run() -> None:
    assert retrying.cut(past(A, B, BAD, REFUND, place=3), PLAIN) == 2


def test_a_run_that_its_code_has_failed_goes_on_behind_all_its_entries() -> None:
    assert retrying.cut(past(A, B), PLAIN) == 2


@pytest.mark.parametrize("state", [State.CANCELLED, State.FAILED])
def test_a_run_that_was_told_to_end_goes_on_just_before_it_heard_of_that(state: State) -> None:
    assert retrying.cut(past(A, B, CANCEL, BAD, place=4, state=state), PLAIN) == 2


def test_from_a_task_is_from_its_first_call() -> None:
    twice = structs.replace(B, key="task:a:d:2")
    assert retrying.cut(past(B, A, twice), Retry([], task="a")) == 1
    assert retrying.refusal(past(A), Retry([], task="b")) == Redone("no_task", "run", State.FAILED, ["b"])


def test_from_the_start_nothing_stays() -> None:
    assert retrying.cut(past(A, B, BAD, place=3), Retry([], start=True)) == 0


def test_a_second_retry_cuts_by_what_counts_since_the_first() -> None:
    journal = [*retried(A, B, BAD, cut=2), B, BAD]
    assert retrying.cut(past(*journal, place=4), PLAIN) == 3
    assert retrying.kept(past(*journal), 3) == [(1, 2), (5, 5)]


# -- when it is refused


@pytest.mark.parametrize("state", State)
def test_only_what_failed_or_was_cancelled_is_retried(state: State) -> None:
    refused = retrying.refusal(past(A, state=state), PLAIN)
    is_fit = state in TERMINAL - {State.COMPLETED}
    assert refused == (None if is_fit else Redone("unfit", "run", state))


def test_a_task_that_was_asked_for_and_completed_behind_the_cut_refuses_it() -> None:
    run = past(A, B, BAD, REFUND, place=3)
    assert retrying.refusal(run, PLAIN) == Redone("done", "run", State.FAILED, ["refund"])
    assert retrying.refusal(run, Retry([], keep=["refund"])) is None
    assert retrying.refusal(run, Retry([], keep=["other"])) is not None
    assert retrying.refusal(run, Retry([], force=True)) is None
    assert retrying.refusal(run, Retry([], start=True)) is None, "other keys, as was asked for"


def test_a_sibling_that_completed_behind_the_cut_and_one_that_failed_there_refuse_nothing() -> None:
    sibling, failed = task("sibling", asked=2), task("other", asked=3, ok=False)
    assert retrying.refusal(past(A, B, BAD, sibling, failed, place=3), PLAIN) is None


def test_a_child_that_was_asked_for_and_completed_behind_the_cut_refuses_it() -> None:
    child = Child("c", "c", State.COMPLETED, asked=3)
    run = past(A, B, BAD, place=3, children=[child])
    assert retrying.refusal(run, PLAIN) == Redone("done", "run", State.FAILED, [], ["c"])
    assert retrying.refusal(past(A, B, BAD, place=3, children=[replace(child, asked=2)]), PLAIN) is None


@pytest.mark.parametrize("order", [PLAIN, Retry([], task="bad"), Retry([], force=True)])
def test_a_task_that_may_not_begin_twice_wants_a_word_of_its_own(order: Retry) -> None:
    run = past(A, B, BAD, place=3, once=frozenset({BAD.key, A.key}))
    assert retrying.refusal(run, order) == Redone("once", "run", State.FAILED, ["bad"])
    assert retrying.refusal(run, structs.replace(order, again=["bad"])) is None


def test_a_child_that_is_still_being_cancelled_is_waited_for() -> None:
    child = Child("c", "c", State.RUNNING, is_cancelled=True)
    for order in (PLAIN, Retry([], force=True), Retry([], start=True)):
        assert retrying.refusal(past(BAD, place=1, children=[child]), order) == Redone("busy", "c", State.RUNNING)
    untold = Child("c", "c", State.RUNNING)
    assert retrying.refusal(past(BAD, place=1, children=[untold]), PLAIN) is None
    assert retrying.refusal(past(BAD, place=1, children=[untold], is_closing=True), PLAIN) is not None
    strange = Child("c", "c", State.RUNNING, is_owned=False)
    assert retrying.refusal(past(BAD, place=1, children=[strange], is_closing=True), PLAIN) is None


def test_a_failed_run_that_was_found_by_its_key_is_to_be_retried_first() -> None:
    run = past(BAD, place=1, children=[Child("c", "other", State.FAILED, is_owned=False)])
    assert retrying.refusal(run, PLAIN) == Redone("foreign", "other", State.FAILED)
    assert retrying.refusal(run, Retry([], force=True)) is None


# -- what becomes of its children


def test_children_that_were_asked_for_before_and_not_given_are_attached_told_again_or_retried() -> None:
    running, completed = Child("r", "r", State.RUNNING), Child("c", "c", State.COMPLETED, ended_seq=3)
    failed, cancelled = Child("f", "f", State.FAILED, ended_seq=4), Child("x", "x", State.CANCELLED)
    given, behind = Child("g", "g", State.FAILED, ended_seq=1), Child("b", "b", State.RUNNING, asked=3)
    run = past(A, B, BAD, ENDED, place=3, children=[running, completed, failed, cancelled, given, behind])
    assert retrying.family(run, PLAIN) == Family(
        [running, completed, failed, cancelled, given], [running, completed], [failed, cancelled]
    )
    assert retrying.family(run, Retry([], start=True)) == Family()


def test_a_child_whose_call_an_earlier_retry_has_cut_off_is_none_of_its_own() -> None:
    starts = Entry("starts:2", True, Raw(b'[["child:f","kept",1],["child:f","cut",1]]'), 1, None, 1)
    other = structs.replace(starts, value=Raw(b'[["child:f","gone",1]]'))
    keyed = Entry("start:flow@k", True, Raw(b"{}"), 1, None, 2)
    journal = [*retried(A, other, BAD, cut=1), starts, keyed]
    outcomes = {"k": 6, "lost": 2}
    assert retrying.asked(journal, read(journal), outcomes) == {"gone": None, "kept": 1, "cut": 1, "k": 2, "lost": None}


# -- what it leaves


def test_the_entry_says_what_stays_how_long_it_was_idle_and_what_is_made_anew() -> None:
    run = past(A, B, BAD, place=3)
    made = retrying.entry(run, Retry([], keep=["x"]), run_id="new", now=61_000)
    said = decoder(Retried).decode(made.value)
    assert (made.key, made.ok, made.at) == ("retry:2", True, 61_000)
    assert said == Retried(2, 2, 61_000, 60_000, BAD.key, "new", "run", ["x"])
    alone = decoder(Retried).decode(retrying.entry(past(), PLAIN, run_id="new", now=700).value)
    assert alone == Retried(0, 2, 700, 200, "", "new", "run")
