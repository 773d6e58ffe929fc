"""Own how a workflow is told to the daemon: its route, and what is sent to it by name is checked against."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from aiki.definitions.fingerprints import fingerprint
from aiki.wire.declared import to_wire
from aiki.wire.messages import NONE, Route
from aiki.wire.packing import payload_misfit

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow

log = logging.getLogger("aiki.worker")


def route_of(workflow: Workflow[..., Any], room: int) -> Route:
    """Return what an opening says of a workflow. Schemas that fit no message of `room` bytes are left out, and logged.

    Names of events are kept even so: an unknown one is refused where it is sent.
    """
    schema = msgspec.Raw(msgspec.json.encode(workflow.parameters.schema()))
    declared = None if workflow.events is None else {event.name: event.schema() for event in workflow.events}
    events = to_wire(declared)
    what = f"the JSON Schema of workflow {workflow.name!r}, with those of its events,"
    if error := payload_misfit(len(schema) + len(events), what, room=room):
        log.warning("%s: what it is sent by name is checked by workers alone", error)
        schema, events = NONE, to_wire(declared and {name: {} for name in declared})
    return Route(
        workflow.name,
        workflow.version,
        schema,
        retention=workflow.retention,
        timeout=workflow.declared.timeout,
        cancel_timeout=workflow.declared.cancel_timeout,
        events=events,
        fingerprint=fingerprint(workflow),
    )
