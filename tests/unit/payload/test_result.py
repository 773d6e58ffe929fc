"""Results: they come back as declared, and what cannot be stored is refused with its path."""

from typing import Any

import pytest

from aiki.core.errors import PayloadError
from aiki.payload import Json, Result
from aiki.wire.limits import PAYLOAD_BYTES
from tests.unit.payload.shapes import Customer, Item, Money, Point


def result(annotation):
    def fn(): ...

    fn.__annotations__ = {"return": annotation}
    return Result.of(fn, owner="task 'fn'")


@pytest.mark.parametrize(
    ("annotation", "value", "raw"),
    [
        (str, "a", b'"a"'),
        (None, None, b"null"),
        (float, 1, b"1"),
        (float, 2.5, b"2.5"),
        (int, 10**30, b"1" + b"0" * 30),
        (Money | None, Money(1), b'{"cents":1,"currency":"EUR"}'),
        (Point, Point(1.0), b"[1.0,0.0]"),
        (dict[str, Any], {"a": [1, 2]}, b'{"a":[1,2]}'),
        (Customer, Customer(fullName="n"), b'{"fullName":"n","addresses":[],"weight":1.0}'),
        (tuple[int, ...], (1, 2), b"[1,2]"),
    ],
)
def test_a_result_is_stored_whole_and_comes_back_as_declared(annotation, value, raw):
    of = result(annotation)
    assert of.encode(value) == raw
    assert of.decode(raw) == value
    assert type(of.decode(raw)) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        (str, 1, r"result of task 'fn': expected str, got int at `\$`"),
        (None, 1, "expected None, got int"),
        (Item, Item("x", price=float("inf")), r"inf is not a number.*\$\.price"),
        (Json, [1, (2,)], r"a tuple would come back as a list at `\$\[1\]`"),
        (Json, {"a": b"x"}, r"a bytes is not JSON.*\$\.a"),
        (str, "\ud800", "lone surrogate"),
        (str, "x" * (PAYLOAD_BYTES - 1), "262,145 bytes"),
    ],
)
def test_what_does_not_fit_is_refused(annotation, value, reason):
    with pytest.raises(PayloadError, match=reason):
        result(annotation).encode(value)


def test_a_result_of_exactly_the_limit_is_stored():
    assert len(result(str).encode("x" * (PAYLOAD_BYTES - 2))) == PAYLOAD_BYTES


@pytest.mark.parametrize("raw", [b"", b"{", b'"x"', b"[" * 1_000_000, b'{"cents":"1"}', b"\xff"])
def test_bytes_that_do_not_fit_are_refused(raw):
    with pytest.raises(PayloadError, match="result of task 'fn'"):
        result(Money).decode(raw)
