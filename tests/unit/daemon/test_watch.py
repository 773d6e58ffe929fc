"""Watchers are remembered within bounds, whoever asks and however often."""

from __future__ import annotations

import asyncio

import pytest

from aiki.core.states import State
from aiki.wire.messages import RunStatus, Watch
from aikid.tell.watchers import RUN_MAX, Watchers

pytestmark = pytest.mark.anyio


def status(run_id: str, state: State = State.RUNNING, **fields: object) -> RunStatus:
    return RunStatus(run_id, "w", "1", state, 1, **fields)  # type: ignore[arg-type]


async def test_many_inboxes_on_one_run_are_not_all_remembered() -> None:
    watchers = Watchers()
    for number in range(10 * RUN_MAX):
        watchers.watch("a", Watch(["run"], f"_INBOX.{number}", 60.0))
    assert len(watchers) == RUN_MAX
    assert len(watchers.told("a", [status("run", State.COMPLETED)])) == RUN_MAX
    assert len(watchers) == 0


async def test_a_namespace_has_a_share_of_what_is_remembered() -> None:
    watchers = Watchers(limit=10)
    for namespace in "abc":
        watchers.watch(namespace, Watch([str(number) for number in range(8)], "_INBOX.x", 60.0))
    assert len(watchers) == 10
    assert [namespace for namespace in "abc" if (namespace, "4") in watchers] == ["a", "b"]


async def test_what_is_watched_again_counts_once_and_lives_on() -> None:
    watchers = Watchers()
    for _ in range(3):
        watchers.watch("a", Watch(["1", "1", "2"], "_INBOX.x", 60.0))
    assert len(watchers) == 2
    watchers.saw("a", ["1", "2"], {"2": status("2")})
    assert len(watchers) == 1
    assert ("a", "2") in watchers


async def test_registrations_end_with_their_time() -> None:
    watchers = Watchers()
    watchers.watch("a", Watch(["1", "2"], "_INBOX.short", 0.0))
    watchers.watch("a", Watch(["2"], "_INBOX.long", 60.0))
    await asyncio.sleep(0.001)
    for _ in watchers.forget_expired():
        pass
    assert len(watchers) == 1
    assert list(watchers.told("a", [status("2", State.FAILED)])) == ["_INBOX.long"]


async def test_a_large_status_is_not_kept() -> None:
    watchers = Watchers()
    watchers.watch("a", Watch(["small", "large"], "_INBOX.x", 60.0))
    labels = {f"label-{n}": "x" * 256 for n in range(20)}
    found = {"small": status("small", labels={"a": "b"}), "large": status("large", labels=labels)}
    watchers.saw("a", found, found)
    assert [watchers._runs["a", name].status is not None for name in found] == [True, False]
