"""Own the facts by which it is said why a run does not move: a value for each reason, and no words. Pure.

Times are microseconds since 1970, and lengths of time microseconds. Which members a reason has follows from its kind;
the words for each are made by `core.why` alone.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """What a run waits for, or what is to be known of it beside that."""

    # what it waits for
    ENDED = "ended"
    IMPORTED = "imported"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SCHEDULED = "scheduled"
    UNSERVED = "unserved"
    """No live worker serves its route."""
    BEHIND = "behind"
    """Others are queued before it."""
    NEXT = "next"
    """None are, and no worker has taken it yet."""
    ALONE = "alone"
    """It has cost leases, and a worker takes one such run at a time."""
    SLEEPING = "sleeping"
    RETRYING = "retrying"
    """A task of it is tried again."""
    AGAIN = "again"
    """The workflow itself is."""
    BACKING_OFF = "backing_off"
    """It has cost leases, and waits before it is taken up again."""
    EVENT = "event"
    CHILD = "child"
    KEY = "key"
    """Another run has the idempotency key of a task."""
    OUTCOME = "outcome"
    """What became of something that it has sent, or started with a key."""
    TASK = "task"
    RUNNING = "running"
    LINGERING = "lingering"
    """It waits in its worker's memory."""
    FROZEN = "frozen"
    """Its worker has not renewed its lease in time."""

    # what is to be known beside that
    DEADLINE = "deadline"
    CANCEL = "cancel"
    PAUSE_WANTED = "pause_wanted"
    SCHEDULE_PAUSED = "schedule_paused"
    SLOTS_BEHIND = "slots_behind"
    """Slots of its schedule wait until it has ended."""
    UNREAD = "unread"
    UNKNOWN = "unknown"
    """What stands in memory: its worker did not say."""


class Reason(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that keeps a run where it is. A kind that is not known here is of a newer daemon."""

    kind: str
    since: int | None = None
    until: int | None = None
    run: str | None = None
    """Another run: a child, the holder of a key, the retry."""
    workflow: str | None = None
    version: str | None = None
    state: str | None = None
    versions: list[str] = []
    """Of the workflow, those that live workers serve."""
    names: list[str] = []
    """Of events, or of what its body stands at."""
    worker: str | None = None
    workers: int = 0
    """Live ones that serve its route."""
    held: int = 0
    """Runs that these have."""
    ahead: int = 0
    """Runs of its route that are claimed before it; `higher` of them by their priority."""
    higher: int = 0
    capped: bool = False
    """Whether there are more than were counted."""
    estimate: int | None = None
    """How long it takes until it is claimed, by how many have ended in the last minutes."""
    actor: str | None = None
    note: str | None = None
    task: str | None = None
    key: str | None = None
    attempt: int | None = None
    of: int | None = None
    """How many attempts there are."""
    error: str | None = None
    """The type of an error; `message` is its text."""
    message: str | None = None
    count: int = 0
    total: int = 0
    renewed: int | None = None
    """When the lease of its worker was renewed last."""
    beat: int | None = None
    """When a task has last said that it lives."""
    fraction: float | None = None
