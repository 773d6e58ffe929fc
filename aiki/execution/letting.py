"""Own the letting go of what a body has asked for: what is free to start, and what nobody waits for any more.

While the worker drains nothing more is started or sent: that is left to the next claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiki.wire.messages import SendOp, StartOp, StopOp

if TYPE_CHECKING:
    from aiki.execution.body import Body
    from aiki.execution.kind import Outside
    from aiki.execution.outbox import Outbox
    from aiki.execution.phases import Lifecycle


def take_back(body: Body, outside: Outside) -> bool:
    """Take back calls that nobody waits for any more; tell whether a cancel has waited for one."""
    abandoned = body.take_abandoned()
    for call in abandoned:
        call.kind.abandon(call, outside)
    return bool(abandoned) and body.is_cancelled


def let_go(body: Body, outbox: Outbox, life: Lifecycle, outside: Outside, now: int) -> None:
    """Start what is free to: children first, which go with the next unit, that lists them."""
    draining = life.draining
    may_start_children = not draining and outbox.starts_are_durable
    for call in body.take_started(may_start_children=may_start_children):
        call.kind.start(call, outside, now, announce=not draining)
    children = body.children
    if children is not None:
        for op in children.take_sent():
            outbox.add_op(op)
        if draining and children.held:
            life.holds_back = True


def send(op: SendOp | StartOp | StopOp, body: Body | None, outbox: Outbox, life: Lifecycle) -> None:
    """Send this in the next unit; what is for a child whose start is held goes right behind that."""
    children = None if body is None else body.children
    if life.draining:
        life.holds_back = True
    elif isinstance(op, StartOp) or children is None or not children.holds(op):
        outbox.add_op(op)
