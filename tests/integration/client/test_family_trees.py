"""A look at a run's family reads as much of it as is shown, however many children there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aiki import Client, WorkflowRun, workflow
from aiki.client import matching
from aiki_cli.commands import family
from aiki_cli.view.tree import Member
from tests.families import adopt, attach
from tests.servers import Aikid

pytestmark = pytest.mark.anyio


@workflow
async def idle(run: WorkflowRun) -> None: ...


async def made(client: Client, count: int) -> list[str]:
    return [handle.run_id for handle in await client.enqueue_many(idle.bind() for _ in range(count))]


async def look(client: Client, run_id: str) -> Member:
    (run,) = await client.runs.status([run_id])
    return await family.read(client, run)


def members(top: Member) -> Iterator[Member]:
    yield top
    for member in top.family or ():
        yield from members(member)


async def test_children_beyond_the_last_are_counted_by_state_and_beyond_that_no_more(
    client: Client, aikid: Aikid, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root,), children = await made(client, 1), await made(client, 25)
    await client.runs.pause_batch(children[:3])
    await adopt(aikid.database_url, root, *children)
    top = await look(client, root)
    assert [member.run.run_id for member in top.family or ()] == children[-family.FAMILY_RUNS :]
    assert {state: count.runs for state, count in top.earlier.items()} == {"queued": 2, "paused": 3}
    monkeypatch.setattr(matching, "COUNTED_RUNS", 24)
    assert (await look(client, root)).earlier == {"in any state": matching.RunCount(24, capped=True)}


async def test_no_more_families_are_looked_at_than_fill_a_screen_or_two(
    client: Client, aikid: Aikid, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, *level = await made(client, 13)
    below = {parent: await made(client, 2) for parent in level}
    await adopt(aikid.database_url, root, *level)
    for parent, leaves in below.items():
        await adopt(aikid.database_url, parent, *leaves)
    assert len([*members(await look(client, root))]) == 1 + 12 + 24
    monkeypatch.setattr(family, "TREE_RUNS", 20)
    top = await look(client, root)
    looked_at = [member.family is not None for member in top.family or ()]
    assert looked_at == [True] * 10 + [False] * 2, "ten at a time"


async def test_a_run_that_is_found_or_was_left_to_a_retry_is_shown_without_its_own_family(
    client: Client, aikid: Aikid
) -> None:
    root, other, own, found, leaf = await made(client, 5)
    for parent, child in ((other, found), (found, leaf), (root, own)):
        await adopt(aikid.database_url, parent, child)
    await attach(aikid.database_url, root, found)
    children = (await look(client, root)).family or []
    assert [(one.run.run_id, one.is_own) for one in children] == [(own, True), (found, False)]
    assert [one.run.children for one in children if one.family is None] == [0, 1]
