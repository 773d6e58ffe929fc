"""The words of `aiki event send`: runs, then the name, then members of the value."""

from __future__ import annotations

import pytest

from aiki import UsageError
from aiki_cli.words.event_words import EventWords, event_words


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["approved"], EventWords([], "approved", [])),
        (["r1", "approved"], EventWords(["r1"], "approved", [])),
        (["r1", "pay@k", "approved", "by=Ada", "n:=1"], EventWords(["r1", "pay@k"], "approved", ["by=Ada", "n:=1"])),
        (["pay@day=3", "approved"], EventWords(["pay@day=3"], "approved", [])),
    ],
)
def test_the_name_is_the_last_word_that_is_no_pair(words: list[str], read: EventWords) -> None:
    assert event_words(words) == read


@pytest.mark.parametrize("run", ["pay@k", "0190b0a0-0000-7000-8000-000000000001"])
def test_a_run_alone_names_no_event(run: str) -> None:
    with pytest.raises(UsageError, match="no event is named") as refused:
        event_words(["r1", run, "by=Ada"])
    assert refused.value.hint == f"aiki event send r1 {run} NAME"


def test_pairs_alone_name_no_event() -> None:
    with pytest.raises(UsageError, match="no event is named"):
        event_words(["by=Ada"])


def test_an_event_carries_its_payload_with_the_pairs_set_in_it() -> None:
    assert event_words(["r", "approved"]).value("alice") == "alice"
    assert event_words(["r", "approved"]).value(None) is None
    assert event_words(["r", "approved", "by.name=Ada"]).value(None) == {"by": {"name": "Ada"}}
    assert event_words(["r", "approved", "by=Ada"]).value({"by": "Bob", "n": 1}) == {"by": "Ada", "n": 1}
    with pytest.raises(UsageError, match="is a member of an object"):
        event_words(["r", "approved", "by=Ada"]).value(["Ada"])
