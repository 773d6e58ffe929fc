"""Own the table of kinds: which of them answers what a body asks for, by the word that its keys begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiki.core.keys import (
    ALL,
    CANCEL,
    END,
    EVENT,
    INTERRUPT,
    LABELS,
    PATCH,
    SEND,
    START,
    STARTS,
    STOP,
    TASK,
    TIMER,
    UNTIL,
)
from aiki.execution.kind import Kind, Unasked
from aiki.execution.kinds.cancel import Cancels, Interrupts
from aiki.execution.kinds.end import Ends, EndsOfAll
from aiki.execution.kinds.event import Events
from aiki.execution.kinds.labels import Labels
from aiki.execution.kinds.patch import Patches
from aiki.execution.kinds.send import Sends
from aiki.execution.kinds.start import StartLists, Starts
from aiki.execution.kinds.stop import Stops
from aiki.execution.kinds.task import Tasks
from aiki.execution.kinds.timer import Dates, Timers

KINDS: Final[Mapping[str, Kind[Any, Any]]] = {
    TASK: Tasks(),
    TIMER: Timers(),
    UNTIL: Dates(),
    PATCH: Patches(),
    LABELS: Labels(),
    EVENT: Events(),
    SEND: Sends(),
    START: Starts(),
    END: Ends(),
    ALL: EndsOfAll(),
    STOP: Stops(),
}
UNASKED: Final[Mapping[str, Unasked]] = {CANCEL: Cancels(), INTERRUPT: Interrupts(), STARTS: StartLists()}
"""Kinds whose entries nobody waits for."""
