"""Own how a claim gets its body: on what is recorded of the run, with the run that it sees as its first argument."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiki.core.errors import AikiError
from aiki.execution.body import Body
from aiki.execution.called import Called
from aiki.execution.cancelling import Tries
from aiki.execution.journal import Journal
from aiki.execution.kinds.labels import since
from aiki.inside.fired import fired_slot
from aiki.inside.workflow_run import WorkflowRun

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow
    from aiki.execution.arrivals import Arrivals
    from aiki.execution.outbox import Outbox
    from aiki.execution.reading import Reading
    from aiki.rules.histories import History
    from aiki.wire.messages import Attempt, Claimed

_logger: Final = logging.getLogger("aiki.execution")


class Prior(Tries, Protocol):
    """The tries of a run's tasks, to which those of earlier claims are made known."""

    def know(self, prior: Mapping[str, Attempt], given_up: Mapping[str, int]) -> None:
        """Take in the last try of each task by earlier claims, and how many count no more."""
        ...


def begin(
    claimed: Claimed,
    workflow: Workflow[Any, Any],
    reading: Reading,
    *,
    arrivals: Arrivals,
    attempts: Prior,
    outbox: Outbox,
    is_over: bool = False,
) -> Body | BaseException:
    """Return the body of a claim of which all is read, about to take its first step; or what has failed it before.

    With `is_over` its run has ended, and it is begun to be looked at.
    """
    try:
        args, kwargs = workflow.parameters.decode(claimed.input)
    except AikiError as error:
        return error
    outbox.know(reading.entries, reading.tries, claimed.labels)
    history, given_up = reading.history()
    attempts.know(reading.tries, given_up)
    arrivals.know_ends(reading.ends)
    called, journal = Called(workflow.record_arguments, arrivals.room), Journal(history.entries, is_over=is_over)
    body, run = _make_body(
        claimed, journal, history, reading.labels(), arrivals=arrivals, tries=attempts, outbox=outbox, called=called
    )
    try:
        # Inside of its loop: what a decorator does before it has a coroutine is the body's too.
        with body.loop.stepping:
            body.begin(workflow.fn(run, *args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - the boundary of user code
        body.leave()
        return error
    return body


def _make_body(
    claimed: Claimed,
    journal: Journal,
    history: History,
    labels: Mapping[str, str],
    *,
    arrivals: Arrivals,
    tries: Tries,
    outbox: Outbox,
    called: Called,
) -> tuple[Body, WorkflowRun]:
    """Return the body of a claim whose journal says this, and its run. What it delivers goes to `outbox`.

    `labels` are those that the run had at first.
    """
    outbox.label(since(labels, history.entries))
    body = Body(
        journal=journal,
        history=history,
        claimed=claimed,
        arrivals=arrivals,
        tries=tries,
        called=called,
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
        schedule=fired_slot(claimed.fired),
    )
    return body, run


def _tell_of_fault(run_id: str, fault: str, details: str) -> None:
    _logger.warning("run %s: %s%s", run_id, fault, details and f"\n{details}")
