"""Own the order in which a body walks through sets of futures, tasks and scopes: the same in every process.

A set iterates by the hashes of its members, and the default hash is a memory address: `for one in done` of
`asyncio.wait` would go another way after a crash, and two branches would swap what they have asked for. So whatever a
run's loop makes hashes by its number in the run, and what no loop makes is seen to here: gather's future, and the
nested scopes of anyio, which are cancelled one by one. Both are changed for the whole process; outside of bodies a
gather hashes as ever, and scopes go in the order in which they were entered, where they went in an arbitrary one.

What stays out of reach is told to users by `@workflow`: their own objects with the default hash, coroutines that
they put into sets themselves, bare `asyncio.Future()`, and `asyncio.all_tasks()`.
"""

from __future__ import annotations

import asyncio
import math
import sys
import zlib
from collections.abc import Iterable
from functools import wraps
from types import CodeType, FrameType
from typing import Any, Final

from anyio._backends._asyncio import CancelScope

from aiki.core.errors import UsageError

HASH_SEED_VARIES: Final = bool(sys.flags.hash_randomization)
"""Whether sets of text iterate in an order of this process's own: unless PYTHONHASHSEED is 0."""

ENSURE_FUTURE: Final[CodeType] = getattr(asyncio.tasks, "_ensure_future", asyncio.ensure_future).__code__
"""Who asks the loop for tasks on behalf of asyncio's own functions; before Python 3.12 a private one."""
_GATHER: Final = asyncio.gather.__code__
"""The commonest of them, which keeps the order: looking at its caller, too, would make a frame object of it."""
_AS_COMPLETED: Final = {"as_completed": "fs", "_AsCompletedIterator.__init__": "aws"}
"""Who makes a set of coroutines, and what it calls them; from Python 3.13 on it is a class."""


class RunFuture(asyncio.Future[Any]):
    """A future of the body. It gets its number when it is first put into a set: most never are."""

    def __hash__(self) -> int:
        return _number_in_run(self)


def coroutines_in_order(caller: FrameType) -> Iterable[Any] | None:
    """Return the coroutines that `as_completed` was given, if it works for that; else None.

    `caller` is a frame of ensure_future's. By then the order is gone, but for what was given: so raises UsageError
    if that is no list of coroutines. A generator is used up, and done futures among them would come in any order.
    """
    frame = caller.f_back
    while frame is not None and frame.f_code is not _GATHER and frame.f_code.co_filename == ENSURE_FUTURE.co_filename:
        name = _AS_COMPLETED.get(frame.f_code.co_qualname)
        if name is not None:
            given = frame.f_locals.get(name)
            if isinstance(given, list | tuple) and all(map(asyncio.iscoroutine, given)):
                return given
            raise UsageError(
                "asyncio.as_completed() in a workflow body takes a list of coroutines, or tasks: of anything else it"
                " makes a set, which another process would walk through in another order",
                hint="asyncio.as_completed([asyncio.create_task(branch(x)) for x in ...])",
            )
        frame = frame.f_back
    return None


def salt_of(origin_id: str) -> int:
    """Return where a run's hashes begin: the same in every process, different between runs."""
    return zlib.crc32(origin_id.encode()) << 20


def _number_in_run(future: Any) -> int:
    """Return the future's number in its run; outside of runs, what every object hashes to."""
    try:
        number: int = future._aiki_number  # noqa: SLF001 - ours
    except AttributeError:
        give = getattr(future.get_loop(), "next_number", None)
        if give is None:
            return object.__hash__(future)
        number = future._aiki_number = give()  # noqa: SLF001 - ours
    return number


class _InOrder(dict[Any, None]):
    """What anyio needs of a set, in the order of entry."""

    __slots__ = ()

    def add(self, member: Any) -> None:
        self[member] = None

    def remove(self, member: Any) -> None:
        del self[member]

    def discard(self, member: Any) -> None:
        self.pop(member, None)


_made: Final = CancelScope.__init__


@wraps(_made)
def _made_in_order(scope: CancelScope, deadline: float = math.inf, shield: bool = False) -> None:
    _made(scope, deadline, shield)
    if isinstance(getattr(scope, "_child_scopes", None), set):  # private: another anyio may have none
        scope._child_scopes = _InOrder()  # type: ignore[assignment]  # noqa: SLF001


CancelScope.__init__ = _made_in_order  # type: ignore[assignment]
vars(asyncio.tasks)["_GatheringFuture"].__hash__ = _number_in_run
