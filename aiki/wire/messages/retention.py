"""Own the messages by which a project says how long ended runs are kept, and by which that is read."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from aiki.core.retention import Periods
from aiki.wire.limits import POLICIES
from aiki.wire.messages.base import Request, Text


class Policy(Struct):
    """How long ended runs of a workflow are kept; of all that nobody names, if `workflow` is empty."""

    workflow: Text
    periods: Periods


class PolicyChange(Struct, omit_defaults=True):
    """What an apply does to the policy of one workflow; `reason` says why it is deleted, refused or stays."""

    workflow: str
    action: Literal["create", "update", "unchanged", "delete", "refused"]
    fields: list[str] = []
    """The states whose period an update changes."""
    reason: str = ""


class RetentionApplied(Struct):
    """What an apply changes, by workflow; nothing was done unless `is_done`."""

    changes: list[PolicyChange]
    is_done: bool


class ApplyRetention(Request[RetentionApplied]):
    """Have a project's policies be just these, in one commit, or with `dry_run` only say what it would do.

    One that it names no longer stays in force, unless `prune`: without it runs might go that were to be kept.
    """

    op = "retention_apply"
    reply = RetentionApplied
    project: Text
    policies: Annotated[list[Policy], Meta(max_length=POLICIES)]
    prune: bool = False
    dry_run: bool = False


class PolicyInfo(Struct):
    """A policy that is in force, and the project that owns it."""

    workflow: str
    project: str
    periods: Periods


class RetentionReply(Struct, omit_defaults=True):
    """Policies behind a workflow's name, in order; `rest` is what the daemon keeps of which nobody says anything."""

    policies: list[PolicyInfo]
    rest: Periods
    key_seconds: int
    """How long idempotency keys are held of runs that are gone."""
    more: bool = False


class ReadRetention(Request[RetentionReply]):
    """Read the policies of the namespace behind one; the first is that of all workflows that nobody names."""

    op = "retention"
    reply = RetentionReply
    after: Text | None = None
