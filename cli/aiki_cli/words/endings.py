"""Own what exit codes mean, and with which of them each command may end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiki_cli import exits

MEANINGS: Final[Mapping[int, str]] = {
    exits.OK: "done; the run completed; a worker drained; there is nothing to list",
    exits.RUN_FAILED: "the run failed; a replay diverges; a strict check has warned",
    exits.USAGE: "the command was typed wrongly, or many runs were meant off a terminal without --yes",
    exits.RUN_CANCELLED: "the run was cancelled",
    exits.RUN_TIMED_OUT: "the run failed because its own timeout had passed",
    exits.NOT_FOUND: "there is no such run, workflow, schedule or profile",
    exits.CONFLICT: "it is not so any more: the key has another input, the state forbids it",
    exits.HELD: "the run is blocked or paused and needs a person (a wait returns at once)",
    exits.STILL_GOING: "not settled: the run goes on (status --exit-status), changes are pending (apply --exit-code)",
    exits.BAD_DATA: "the payload or another input is not what is expected",
    exits.NO_INPUT: "a file could not be read",
    exits.UNREACHABLE: "no server answers there",
    exits.BUG: "a bug in Aiki",
    exits.UNWRITABLE: "stdout, or a file, could not be written; a pipe that was closed is no error",
    exits.TRY_AGAIN: "not now: the same again is safe, and may succeed",
    exits.DENIED: "the server does not let us in",
    exits.CONFIG: "a manifest, a profile or a variable is wrong",
    exits.WAIT_TIMEOUT: "our --timeout has passed; the run goes on",
    exits.HUNG_UP: "SIGHUP before the work was done",
    exits.INTERRUPTED: "Ctrl-C before the work was done; runs go on",
    exits.TERMINATED: "SIGTERM before the work was done",
}
"""Each code that a command may end with."""

_SERVER: Final = {69: "unreachable"}
_FOUND: Final = {0: "done", 5: "not found", **_SERVER}
_ORDER: Final = {0: "done", 2: "no --yes", 5: "not found", 6: "forbidden by its state", **_SERVER}
_OUTCOMES: Final = {
    0: "completed",
    1: "failed",
    3: "cancelled",
    4: "timed out",
    5: "not found",
    7: "needs a person",
    124: "our timeout",
}

ENDINGS: Final[Mapping[str, Mapping[int, str]]] = {
    "dev": {0: "stopped", 78: "configuration"},
    "enqueue": {
        0: "enqueued",
        5: "no such workflow",
        6: "key in use",
        65: "bad payload",
        66: "file unreadable",
        1: "failed, with --wait",
        124: "our timeout",
        **_SERVER,
    },
    "status": {
        0: "shown",
        5: "not found",
        **_SERVER,
        1: "failed, with --exit-status",
        3: "cancelled",
        4: "timed out",
        7: "needs a person",
        8: "still going",
    },
    "wait": {**_OUTCOMES, **_SERVER},
    "why": _FOUND,
    "worker start": {0: "drained", 65: "bad modules", 69: "unreachable", 77: "denied", 78: "configuration"},
    "worker list": {0: "done", **_SERVER},
    "run list": {0: "done, even if there are none", **_SERVER},
    "run show": _FOUND,
    "run history": _FOUND,
    "run export": {**_FOUND, 74: "file not written"},
    "run import": {0: "done", 6: "in use by another run", 65: "no export", 66: "file unreadable", **_SERVER},
    "run pause": _ORDER,
    "run resume": _ORDER,
    "run cancel": _ORDER,
    "run wake": _ORDER,
    "run retry": {**_ORDER, 6: "cannot be retried so"},
    "run move": {**_ORDER, 6: "does not fit, or forbidden by its state", 65: "bad input"},
    "run delete": {**_ORDER, 6: "stays"},
    "event send": {0: "sent", 2: "no --yes", 5: "not found", 6: "has ended", 65: "bad payload", **_SERVER},
    "schedule list": {0: "done, even if there are none", **_SERVER},
    "schedule show": _FOUND,
    "schedule next": {0: "done", 2: "no such cron or time", 5: "not found", **_SERVER},
    "schedule create": {0: "created", 5: "no such workflow", 6: "name in use", 65: "bad payload", **_SERVER},
    "schedule update": {0: "updated", 5: "not found", 65: "bad payload", **_SERVER},
    "schedule trigger": {0: "fired", 1: "failed, with --wait", 5: "not found", **_SERVER, 124: "our timeout"},
    "schedule backfill": {0: "fired", 2: "without --yes", 5: "not found", 65: "a slot was refused", **_SERVER},
    "schedule pause": _FOUND,
    "schedule resume": _FOUND,
    "schedule delete": {0: "deleted", 2: "without --yes", 5: "not found", **_SERVER},
    "workflow list": {0: "done", **_SERVER},
    "workflow show": _FOUND,
    "check": {0: "no problem", 1: "warned, with --strict", 65: "bad payload", 66: "file unreadable", 78: "a problem"},
    "apply": {
        0: "done",
        2: "without --yes",
        6: "refused",
        8: "pending, with --exit-code",
        **_SERVER,
        78: "bad manifest",
    },
    "replay": {0: "compatible", 1: "one diverges", 5: "not found", 66: "file unreadable", **_SERVER},
    "config show": {0: "done", 78: "a file is wrong"},
    "config profiles": {0: "done", 78: "a file is wrong"},
    "completion": {0: "done"},
    "help": {0: "done"},
}
"""What each command's own endings are, in few words; any may also end with 2, 70, 74, 75, 77, 78 or by a signal."""
