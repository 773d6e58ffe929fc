"""Whether a line stands in a `finally` is told from the source of its function, and of those that have called it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest

from aiki.core.finals import line_in_finally


def here() -> bool:
    """Tell whether the caller is in a `finally`, or who has called that."""
    return line_in_finally(sys._getframe(1), outermost=outermost.__code__) is not None


def outermost(fn: Callable[[], Any]) -> Any:
    return fn()


def decorated(fn: Callable[[], Any]) -> Callable[[], Any]:
    @wraps(fn)
    def made() -> Any:
        return fn()

    return made


def in_try() -> bool:
    try:
        return here()
    finally:
        ""


def in_except() -> bool:
    try:
        raise ValueError
    except ValueError:
        return here()
    finally:
        ""


@decorated
def in_finally() -> bool:
    found = False
    try:
        ""
    finally:
        for _ in range(1):
            found = here()
    return found


def in_the_inner_finally_of_two() -> bool:
    found = False
    try:
        try:
            ""
        finally:
            found = here()
    except* ValueError:
        pass
    return found


def behind_a_finally() -> bool:
    try:
        ""
    finally:
        ""
    return here()


def in_what_a_finally_calls() -> bool:
    found = False
    try:
        ""
    finally:
        found = in_try()
    return found


def in_a_function_that_a_finally_makes() -> bool:
    try:
        ""
    finally:

        def made() -> bool:
            return here()

    return made()


@contextmanager
def closing() -> Iterator[None]:
    try:
        yield
    finally:
        ""


def inside_a_context_that_has_one() -> bool:
    with closing():
        return here()


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        *((in_finally, True), (in_the_inner_finally_of_two, True), (in_what_a_finally_calls, True)),
        *((in_try, False), (in_except, False), (behind_a_finally, False), (inside_a_context_that_has_one, False)),
        (in_a_function_that_a_finally_makes, False),
    ],
)
def test_a_line_is_in_a_finally_or_it_is_not(fn: Callable[[], bool], expected: bool) -> None:
    assert outermost(fn) is expected


def test_without_its_source_nothing_is_said_of_a_function() -> None:
    names: dict[str, Any] = {"here": here}
    exec("def made():\n  try:\n    str()\n  finally:\n    found = here()\n  return found", names)
    assert outermost(names["made"]) is False


def test_who_has_called_the_outermost_does_not_count() -> None:
    found = True
    try:
        ""
    finally:
        found = outermost(in_try)
    assert not found
