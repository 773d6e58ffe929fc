"""Own the messages of the deletion of runs at a person's word."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from aiki.core.states import State
from aiki.wire.limits import RETRIED_RUNS
from aiki.wire.messages.base import Request, Text


class DeletedRun(Struct, omit_defaults=True):
    """What has become of one run, or would.

    It is `done`; `live` if it has not ended, or a run of its family has not, which is `other` then; `held` by `other`,
    that may read it again; `busy`, and gone in a moment, if somebody else has its row; `large`, with more of a family
    than one commit deletes; `unknown` if there is no such run.
    """

    result: Literal["done", "live", "held", "busy", "large", "unknown"]
    runs: int = 0
    """How many went, or would: itself, its retries, the children that these have started, and so on."""
    other: str | None = None
    state: State | None = None
    """That of `other`, if it has not ended."""


class DeleteReply(Struct):
    """One for each id, in order."""

    outcomes: list[DeletedRun]


class Delete(Request[DeleteReply]):
    """Delete runs that have ended, each with its retries and all that it has started, in a commit of its own.

    With `preview` nothing is deleted, and what would be is told.
    """

    op = "delete"
    reply = DeleteReply
    ids: Annotated[list[Text], Meta(max_length=RETRIED_RUNS)]
    actor: Text | None = None
    forget_keys: bool = False
    """Whether their idempotency keys are free at once, and not held for as long as those of runs that grow too old."""
    preview: bool = False
