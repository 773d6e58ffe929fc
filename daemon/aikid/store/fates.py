"""Own what a failure of Postgres means for the statement that met it: one table by SQLSTATE, for all statements alike.

A failure that passes (a failover, a migration, rights taken away for a while) must never look like a bug of ours or a
mistake of the caller's: a worker would take that for the last word and do again what it has done. So only what a
statement's own text can cause is a bug, only what a value can cause is refused, and all else is waited for. The codes
are those of the PostgreSQL manual, appendix A; an unknown class is waited for, since it is not ours.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import psycopg


class Fate(Enum):
    """What becomes of the work that a failure interrupted."""

    REPEAT = "repeat"
    """It was undone whole, and the same may go well a moment later: again, here."""
    RENEW = "renew"
    """The connections are no good (lost, read-only, with plans or statements of before): again, on a new one."""
    WAIT = "wait"
    """Postgres cannot do it now: unavailable; the caller repeats until its deadline."""
    REFUSE = "refuse"
    """A value of the caller's is no good, and never will be."""
    BUG = "bug"
    """The statement is wrong, and so are we."""


CLASSES: Final = {
    "02": Fate.BUG,  # no data
    "03": Fate.BUG,  # SQL statement not yet complete
    "08": Fate.RENEW,  # connection exception; poolers say 08P01 for most of their own troubles
    "09": Fate.BUG,  # triggered action exception
    "0A": Fate.RENEW,  # feature not supported, and "cached plan must not change result type" after a migration
    "0B": Fate.BUG,  # invalid transaction initiation
    "0F": Fate.BUG,  # locator exception
    "0L": Fate.WAIT,  # invalid grantor
    "0P": Fate.WAIT,  # invalid role specification: whoever set the role up is at it
    "0Z": Fate.BUG,  # diagnostics exception
    "10": Fate.BUG,  # XQuery error
    "20": Fate.BUG,  # case not found
    "21": Fate.BUG,  # cardinality violation
    "22": Fate.REFUSE,  # data exception
    "23": Fate.REFUSE,  # integrity constraint violation
    "24": Fate.BUG,  # invalid cursor state
    "25": Fate.RENEW,  # invalid transaction state: the session is not what we left it as
    "26": Fate.RENEW,  # invalid SQL statement name: prepared on another connection behind a pooler, or deallocated
    "27": Fate.BUG,  # triggered data change violation
    "28": Fate.WAIT,  # invalid authorization specification: a password is being changed
    "2B": Fate.WAIT,  # dependent privilege descriptors still exist
    "2D": Fate.BUG,  # invalid transaction termination
    "2F": Fate.WAIT,  # SQL routine exception: ours raise none, so it is one that somebody hung onto our tables
    "34": Fate.BUG,  # invalid cursor name
    "38": Fate.WAIT,  # external routine exception: as 2F
    "39": Fate.WAIT,  # external routine invocation exception: as 2F
    "3B": Fate.BUG,  # savepoint exception
    "3D": Fate.WAIT,  # invalid catalog name: the database is being restored
    "3F": Fate.WAIT,  # invalid schema name: so is the schema
    "40": Fate.REPEAT,  # transaction rollback: deadlock, serialization failure
    "42": Fate.BUG,  # syntax error or access rule violation
    "44": Fate.BUG,  # WITH CHECK OPTION violation
    "53": Fate.WAIT,  # insufficient resources: disk full, out of memory, too many connections
    # Program limit exceeded. Our checks keep values below every such limit; what is left is a server that runs out of
    # transaction ids (54000), and runs must not be given up for that.
    "54": Fate.WAIT,
    "55": Fate.WAIT,  # object not in prerequisite state
    "57": Fate.WAIT,  # operator intervention: cancelled, timed out, starting up or shutting down
    "58": Fate.WAIT,  # system error
    "72": Fate.REPEAT,  # snapshot too old
    "F0": Fate.WAIT,  # configuration file error
    "HV": Fate.WAIT,  # foreign data wrapper error
    "P0": Fate.WAIT,  # PL/pgSQL error: as 2F
    "XX": Fate.WAIT,  # internal error, corrupted data or index: Postgres's own
}
CODES: Final = {
    "23502": Fate.BUG,  # not null violation: no value of a caller's is null where we need one
    # The journal was written between the statement's snapshot and its lock: the next snapshot sees it.
    "23505": Fate.REPEAT,
    "25001": Fate.BUG,  # active SQL transaction: a statement that may not stand in one
    "40003": Fate.WAIT,  # statement completion unknown: only the caller knows whether it may be repeated
    "42501": Fate.WAIT,  # insufficient privilege: rights are being changed
    "42703": Fate.WAIT,  # undefined column, function, object or table: the schema is being restored, or a newer
    "42883": Fate.WAIT,  # aikid has migrated it beyond this one; others of the queue group may know it
    "42704": Fate.WAIT,
    "42P01": Fate.WAIT,
    "42P05": Fate.RENEW,  # duplicate prepared statement: it is somebody else's, behind a pooler
    "55P03": Fate.REPEAT,  # lock not available within `lock_timeout`
    "57P01": Fate.RENEW,  # admin shutdown
    "57P02": Fate.RENEW,  # crash shutdown: all connections were ended because one process died
    "57P05": Fate.RENEW,  # idle session timeout
}
"""The codes that do not share the fate of their class."""


def of_code(sqlstate: str) -> Fate:
    """Return the fate of a statement that the server answered with this SQLSTATE."""
    return CODES.get(sqlstate) or CLASSES.get(sqlstate[:2], Fate.WAIT)


def of_error(error: psycopg.Error, *, closed: bool) -> Fate:
    """Return the fate of a statement that failed; `closed` says whether its connection is gone.

    Without a SQLSTATE the failure was met on this side: of the connection, or of a value that cannot be sent.
    """
    if error.sqlstate is not None:
        return of_code(error.sqlstate)
    match error:
        case _ if closed:
            return Fate.RENEW
        case psycopg.DataError():
            return Fate.REFUSE
        case psycopg.OperationalError():
            return Fate.WAIT
        case _:
            return Fate.BUG


def reason(error: BaseException) -> str:
    """Return the first line of what Postgres or the driver said."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
