"""How spans of time are shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aiki.core.duration import to_microseconds
from aiki_cli.view.moments import length, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 ms"), (0.0123, "12 ms"), (3.44, "3.4 s"), (310, "5m 10s"), (7380, "2h 3m"), (349_200, "4d 1h")],
)
def test_a_span_is_said_as_people_say_it(seconds, text):
    assert span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize("text", ["0s", "15m", "1h30m", "1d", "250ms", "36500d23h59m59s999ms999us"])
def test_a_length_is_told_exactly_as_it_may_be_typed(text):
    assert length(timedelta(microseconds=to_microseconds(text))) == text
