"""What is guessed at a word that is not known."""

from __future__ import annotations

import time

import pytest

from aiki.core.near import did_you_mean, nearest
from tests.waiting import patient

STATES = ["scheduled", "queued", "running", "completed", "failed", "cancelled"]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("process_order", ["process-orders-all", "process-order"], "process-order"),
        ("processOrder", ["process-order"], "process-order"),
        ("complete", STATES, "completed"),
        ("Canceled", STATES, "cancelled"),
        ("run_list", ["run list", "run show"], "run list"),
        ("order-id", ["order_id", "order"], "order_id"),
        ("zebra", STATES, None),
        ("", STATES, None),
        ("x", [], None),
    ],
)
def test_the_nearest_word_is_meant(word, known, meant):
    assert nearest(word, known) == meant


def test_a_question_is_asked_only_if_one_is_close():
    assert did_you_mean("complete", STATES, otherwise="none of them") == "did you mean 'completed'?"
    assert did_you_mean("zebra", STATES, otherwise="none of them") == "none of them"


def test_a_guess_at_a_strangers_words_ends_soon():
    began = time.monotonic()
    nearest("a" * 100_000, [f"{'a' * 99}{number}" for number in range(100_000)] + ["a" * 1_000_000])
    assert time.monotonic() - began < patient(5)
