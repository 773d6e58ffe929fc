"""How spans of time are shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aiki_cli.view.moments import span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 ms"), (0.0123, "12 ms"), (3.44, "3.4 s"), (310, "5m 10s"), (7380, "2h 3m"), (349_200, "4d 1h")],
)
def test_a_span_is_said_as_people_say_it(seconds, text):
    assert span(timedelta(seconds=seconds)) == text
