"""Own what scenarios write down of what they were answered: values as they are, errors by their class and words."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from aiki import AikiError, Client, Handle, State


async def answer(call: Awaitable[Any]) -> Any:
    """Return what it returns, or the words of what refuses it."""
    try:
        return await call
    except AikiError as error:
        return f"{type(error).__name__}: {error}"


async def refusal(call: Awaitable[Any]) -> str:
    """Return what refuses it. Raises AssertionError if nothing does."""
    found = await answer(call)
    assert isinstance(found, str), f"it was not refused: {found!r}"
    return found


async def state(handle: Handle[Any]) -> State:
    """Return the state of the very run, whatever goes on in its place."""
    return (await handle.status()).state


async def moves(client: Client, run_id: str) -> list[str]:
    """Return the moves of a run's story, with the kind of each entry."""
    story = [entry async for entry in client.runs.history(run_id)]
    return [str(entry.move) if entry.key is None else f"{entry.move} {kind_of(entry.key)}" for entry in story]


async def entries(client: Client, run_id: str) -> list[str]:
    """Return the kinds and names of a run's entries, in their order."""
    story = [entry async for entry in client.runs.history(run_id)]
    return [kind_and_name(entry.key) for entry in story if entry.move == "entry" and entry.key is not None]


def kind_of(key: str) -> str:
    """Return the kind of what an entry is of."""
    return key.partition(":")[0]


def kind_and_name(key: str) -> str:
    """Return a task's or an event's key without its digest and count; of another one its kind."""
    parts = key.replace("@", ":").split(":")
    return ":".join(parts[:2]) if parts[0] in ("task", "event") else parts[0]


def ordered(names: Sequence[str], wanted: Sequence[str]) -> bool:
    """Tell whether these stand among the names in this order."""
    left = iter(names)
    return all(name in left for name in wanted)
