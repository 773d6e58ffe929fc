"""Own the step from a class of the SDK to one of ours that says more: the same members, and further ones."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def extended(to: type[T], thing: Any, **more: object) -> T:
    """Return `thing` as an object of a subclass, with `more` in its further members."""
    return to(**{one.name: getattr(thing, one.name) for one in fields(thing)}, **more)
