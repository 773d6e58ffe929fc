"""Own how long tests wait: every deadline of theirs is multiplied by one factor, `AIKI_TEST_PATIENCE`.

A deadline says when something counts as stuck, never how fast it must be. On a busy machine set the factor higher:
`AIKI_TEST_PATIENCE=3 make test`. What a product promises in seconds is measured with the factor as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from inspect import isawaitable
from typing import Any, Final, TypeVar, overload

import anyio

T = TypeVar("T")

FACTOR: Final = float(os.environ.get("AIKI_TEST_PATIENCE") or 1)


def patient(seconds: float) -> float:
    """Return the seconds to wait where a quiet machine would need at most `seconds`."""
    return seconds * FACTOR


ENOUGH: Final = timedelta(seconds=patient(30))
"""For `handle.result(timeout=ENOUGH)`: a result that does not come within it never comes."""


def wait_until_sync(condition: Callable[[], T], seconds: float = 10.0, *, what: str | None = None) -> T:
    """Return the first truthy value of `condition`. Raises AssertionError after `seconds` times the factor."""
    deadline = time.monotonic() + patient(seconds)
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or condition} did not come true in {patient(seconds):g} s (last: {value!r})")
        time.sleep(0.01)
    return value


@overload
async def wait_until(condition: Callable[[], Awaitable[T]], seconds: float = 10.0, *, what: str | None = None) -> T: ...
@overload
async def wait_until(condition: Callable[[], T], seconds: float = 10.0, *, what: str | None = None) -> T: ...
async def wait_until(condition: Callable[[], Any], seconds: float = 10.0, *, what: str | None = None) -> Any:
    """Return the first truthy value of `condition`, sync or async. Raises AssertionError as `wait_until_sync` does."""
    deadline = time.monotonic() + patient(seconds)
    while True:
        found = condition()
        value = await found if isawaitable(found) else found
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or condition} did not come true in {patient(seconds):g} s (last: {value!r})")
        await anyio.sleep(0.01)
