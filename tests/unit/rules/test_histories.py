"""What a journal with retries in it says: what counts, which results are kept, and which attempt is in force."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw

from aiki.rules.histories import read
from aiki.wire.codec import encode
from aiki.wire.messages import Entry, Retried


def task(name: str, *, asked: int, ok: bool = True, n: int = 1) -> Entry:
    return Entry(f"task:{name}:d:{n}", ok, Raw(b"1"), 1, None, asked)


def retry(cut: int, attempt: int, *, key: str = "", keep: Sequence[str] = ()) -> Entry:
    value = Retried(cut, attempt, 1, key=key, keep=list(keep))
    return Entry(f"retry:{attempt}", True, Raw(encode(value)), 1)


A, B, C = (task(name, asked=place) for place, name in enumerate("abc"))
FAILED = task("c", asked=2, ok=False)


def test_a_journal_without_a_retry_says_what_it_holds() -> None:
    journal = [A, B]
    history = read(journal)
    assert history.entries is journal
    assert list(history.seqs) == [1, 2]
    assert not history.known
    assert not history.retries


def test_what_stands_from_a_cut_to_its_retry_counts_no_more() -> None:
    history = read([A, B, FAILED, retry(2, 2, key=FAILED.key), C])
    assert history.entries == [A, B, C]
    assert list(history.seqs) == [1, 2, 5]


def test_a_cut_counts_what_counts_and_not_what_an_earlier_retry_cut_off() -> None:
    history = read([A, B, FAILED, retry(2, 2, key=FAILED.key), FAILED, retry(2, 3, key=FAILED.key), C])
    assert history.entries == [A, B, C]
    assert list(history.seqs) == [1, 2, 7]


def test_a_sibling_that_ended_after_the_cut_is_known_and_no_entry() -> None:
    sibling, failed = task("sibling", asked=1), task("bad", asked=1, ok=False)
    history = read([A, failed, sibling, retry(1, 2, key=failed.key)])
    assert history.entries == [A]
    assert history.known == {sibling.key: sibling}


def test_a_sibling_that_failed_after_the_cut_is_not_known() -> None:
    first, second = (task("bad", asked=0, ok=False, n=n) for n in (1, 2))
    assert not read([first, second, retry(0, 2, key=first.key)]).known


def test_what_was_asked_behind_the_cut_is_not_known_unless_it_is_kept() -> None:
    failed, refund = task("charge", asked=1, ok=False), task("refund", asked=2)
    assert not read([A, failed, refund, retry(1, 2, key=failed.key)]).known
    assert read([A, failed, refund, retry(1, 2, key=failed.key, keep=["refund"])]).known == {refund.key: refund}


def test_the_call_at_the_cut_is_made_anew_though_it_succeeded() -> None:
    assert not read([A, B, retry(0, 2, key=A.key)]).known


def test_a_result_stays_known_over_a_further_retry_that_cuts_behind_its_call() -> None:
    sibling, failed = task("sibling", asked=1), task("bad", asked=1, ok=False)
    journal = [A, failed, sibling, retry(1, 2, key=failed.key), failed, retry(1, 3, key=failed.key)]
    assert read(journal).known == {sibling.key: sibling}
    assert not read([*journal, retry(0, 4, key=A.key)]).known


def test_a_kept_result_stays_known_over_a_further_retry() -> None:
    failed, refund = task("charge", asked=1, ok=False), task("refund", asked=2)
    first = [A, failed, refund, retry(1, 2, key=failed.key, keep=["refund"])]
    assert read([*first, failed, retry(1, 3, key=failed.key)]).known == {refund.key: refund}


def test_the_attempt_in_force_is_the_one_whose_cut_lies_before_the_call() -> None:
    history = read([A, B, FAILED, retry(2, 2), C, FAILED, retry(3, 3)])
    assert [history.attempt_at(place, 3) for place in range(5)] == [1, 1, 1, 2, 3]


def test_a_retry_that_cuts_further_ahead_undoes_those_behind_its_cut() -> None:
    history = read([A, B, FAILED, retry(2, 2), retry(0, 3)])
    assert [one.attempt for one in history.retries] == [3]
    assert [history.attempt_at(place, 3) for place in range(2)] == [1, 3]


def test_a_journal_that_an_attempt_began_later_than_the_first_says_so() -> None:
    assert read([A]).attempt_at(1, 4) == 4
    assert read([A, FAILED, retry(1, 5)]).attempt_at(1, 5) == 4


def test_a_retry_that_goes_on_before_its_time_goes_on_then() -> None:
    value = Retried(1, 2, 1_000, idle=600, key=FAILED.key)
    (said,) = read([A, FAILED, Entry("retry:2", True, Raw(encode(value)), 700)]).retries
    assert (said.at, said.idle) == (700, 300)


def test_what_a_person_has_ordered_last_is_known_also_when_it_was_cut_off() -> None:
    def said(cut: int, attempt: int, run_id: str, of: str) -> Entry:
        value = Retried(cut, attempt, 1, run_id=run_id, of=of)
        return Entry(f"retry:{attempt}", True, Raw(encode(value)), 1)

    history = read([A, B, FAILED, said(2, 2, "new", "old"), FAILED, said(0, 3, "new", "new")])
    assert [one.attempt for one in history.retries] == [3]
    assert history.ordered is not None
    assert history.ordered.attempt == 2
    assert read([A, FAILED, said(1, 2, "old", "old")]).ordered is None
