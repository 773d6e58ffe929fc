"""Stored values that Python cannot hold are shown as they are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aiki import Unreadable
from aiki.core.moments import FIRST, LAST, to_datetime
from aiki.definitions.stored import read, read_failure
from aiki.wire.messages import NONE, Failure


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"a": 1e999}', '{"a": 1e999} [cannot be read: Number out of range'),
        (b"7" * 5_000, "7" * 2_000 + "… (5,000 characters) [cannot be read: "),
        (b'"\xff"', '"\\xff" [cannot be read: '),
        (b"[" * 200_000 + b"]" * 200_000, "[" * 2_000 + "… (400,000 characters) [cannot be read: "),
        (b"{", "{ [cannot be read: "),
    ],
)
def test_what_cannot_be_read_is_its_raw_text_with_a_word_about_it(raw: bytes, shown: str) -> None:
    value = read(raw)
    assert isinstance(value, Unreadable)
    assert value.startswith(shown)
    failure = read_failure(raw)
    assert failure is not None
    assert failure.message.startswith(shown[:3])


def test_what_can_be_read_is_what_it_is() -> None:
    assert read(b'{"a": [1, 1.5e300, null]}') == {"a": [1, 1.5e300, None]}
    assert (read(NONE), read_failure(NONE)) == (None, None)
    assert read_failure(b'{"type": "E", "message": "m"}') == Failure("E", "m")


@pytest.mark.parametrize(
    ("microseconds", "moment"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (253_402_300_799_999_999, LAST),
        (253_402_300_800_000_000, LAST),
        (10**40, LAST),
        (-(10**40), FIRST),
    ],
)
def test_a_time_beyond_all_datetimes_is_the_last_one(microseconds: int, moment: datetime) -> None:
    assert to_datetime(microseconds) == moment
