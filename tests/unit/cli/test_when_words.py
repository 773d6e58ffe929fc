"""How the flags that say when a schedule fires are read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aiki import UsageError
from aiki_cli.words.when_words import in_flags, when_words


def test_what_was_not_typed_is_left_out_and_none_takes_back() -> None:
    typed = when_words(cron="0 2 * * *", every=None, jitter="none", catch_up="none", end="2026-01-01T00:00Z")
    assert typed == {
        "cron": "0 2 * * *",
        "jitter": None,
        "catch_up": "none",
        "end": datetime(2026, 1, 1, tzinfo=UTC),
    }


def test_a_time_that_is_none_names_its_flag() -> None:
    with pytest.raises(UsageError, match="--anchor 'soon' is no time"):
        when_words(anchor="soon")


def test_a_hint_for_code_is_one_for_the_command_line() -> None:
    with pytest.raises(UsageError) as caught, in_flags():
        raise UsageError("no", hint='catch_up="latest"')
    assert caught.value.command == '--catch-up "latest"'
