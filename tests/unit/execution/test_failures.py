"""What is stored of an error fits where errors go, whatever is in it."""

from __future__ import annotations

import msgspec
import pytest

from aiki.execution.failures import encode_failure, failure_of
from aiki.wire.limits import ERROR_BYTES
from aiki.wire.messages import Failure


def raised(text: str) -> BaseException:
    try:
        try:
            raise KeyError(text)
        except KeyError as cause:
            raise ValueError(text) from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize("character", ["x", '"', "\1", "é", "\U0001f600", "\n"])
def test_an_error_takes_no_more_than_its_bytes(character: str) -> None:
    data = encode_failure(failure_of(raised(character * 100_000), task="t" * 64, attempts=3))
    assert len(data) <= ERROR_BYTES
    failure = msgspec.json.decode(data, type=Failure)
    assert (failure.type, failure.task, failure.attempts) == ("ValueError", "t" * 64, 3)
    assert failure.message.startswith(character * 500)
    assert failure.message.endswith("…")
    assert failure.traceback
    assert failure.cause


def test_a_short_error_is_stored_whole() -> None:
    failure = failure_of(raised("why"))
    assert msgspec.json.decode(encode_failure(failure), type=Failure) == failure
