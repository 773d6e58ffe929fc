"""Own how a claim gets its body: on what is recorded of the run, with the run that it sees as its first argument."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from aiki.execution.body import Body
from aiki.execution.journal import Journal
from aiki.execution.kinds.labels import since
from aiki.inside.workflow_run import WorkflowRun

if TYPE_CHECKING:
    from aiki.execution.arrivals import Arrivals
    from aiki.execution.cancelling import Tries
    from aiki.execution.outbox import Outbox
    from aiki.rules.histories import History
    from aiki.wire.messages import Claimed

_logger: Final = logging.getLogger("aiki.execution")


def make_body(
    claimed: Claimed,
    history: History,
    labels: Mapping[str, str],
    *,
    arrivals: Arrivals,
    tries: Tries,
    outbox: Outbox,
) -> tuple[Body, WorkflowRun]:
    """Return the body of a claim whose journal says this, and its run. What it delivers goes to `outbox`.

    `labels` are those that the run had at first.
    """
    outbox.label(since(labels, history.entries))
    body = Body(
        journal=Journal(history.entries),
        history=history,
        claimed=claimed,
        arrivals=arrivals,
        tries=tries,
        on_entry=outbox.add,
        on_ask=outbox.ask,
        on_labels=outbox.label,
        on_fault=partial(_tell_of_fault, claimed.fence.run_id),
    )
    run = body.loop.workflow_run = WorkflowRun(
        body,
        origin_id=claimed.origin_id,
        workflow=claimed.workflow,
        version=claimed.version,
        input=claimed.input,
        idempotency_key=claimed.key,
        labels=labels,
        generation=claimed.generation,
    )
    return body, run


def _tell_of_fault(run_id: str, fault: str, details: str) -> None:
    _logger.warning("run %s: %s%s", run_id, fault, details and f"\n{details}")
