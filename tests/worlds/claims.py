"""Own what a claim brings its worker of a run in memory, as the daemon says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from aiki.wire.messages import NONE, Attempt, Claimed, Fence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.worlds.world import World


def claim_of(world: World, *, began_at: int, first_at: int) -> Claimed:
    """Return the run as it is claimed; `began_at` is when its generation was claimed first, `first_at` when it was."""
    arrivals, news, unread = world.inbox.first_page(world.page_length)
    tries, retry = last_tries(world.attempts), world.options.retry
    owner = world.family.owner
    return Claimed(
        Fence(world.run_id, world.epoch, f"claim-{world.epoch}"),
        world.origin_id,
        world.workflow.name,
        world.workflow.version,
        Raw(world.input),
        world.epoch,
        began_at,
        entries=world.journal[: world.page_length],
        length=len(world.journal),
        attempts=tries if len(tries) <= world.page_length else [],
        tries=len(tries),
        arrivals=arrivals,
        news=news,
        unread=unread,
        parent=None if owner is None else owner.run_id,
        depth=len(world.family.ancestors),
        priority=world.priority,
        key=world.options.key,
        labels=world.labels,
        attempt=world.attempt,
        generation=world.generation,
        first_at=first_at if world.generation else None,
        retry=NONE if retry is None else Raw(msgspec.json.encode(retry)),
        fired=world.options.fired,
    )


def last_tries(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Return the last try of each task."""
    last = {row.key: row for row in sorted(attempts, key=lambda row: row.attempt)}
    return list(last.values())
