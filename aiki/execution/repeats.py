"""Own how the cancellation that anyio repeats comes to rest in a body.

A cancelled scope of anyio cancels what is in it once in each turn of the loop, for as long as anything is in it, so
that a task which goes on waiting is cancelled again. A branch that cannot end before an outcome comes, such as one
that waits in asyncio's TaskGroup for a cleanup, would go round all that time: the outcome would be let into the body
after a great many turns, which replay must repeat, and the run would never leave memory and cost a core.

A repeat does something only if something has changed since the last one, and in a body nothing changes but by handles:
so a run's loop keeps the repeat of a repeat back until another handle has run. Where each repeat wakes somebody who
only waits again it gives up after REPEATS of them, until the next outcome is delivered. So a branch may go on waiting
that anyio alone would cancel for the 201st time. The change is made for the whole process; other loops do as ever.
With an anyio that has no such method any more nothing is changed: a body then goes round as it would without us.
"""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from typing import Any, Final

from anyio._backends._asyncio import CancelScope

REPEATS: Final = 200
"""Few enough for a body to rest before it counts as one that spins."""

_deliver: Final[Any] = vars(CancelScope).get("_deliver_cancellation")
"""Where anyio repeats; it has no public name."""


def _deliver_and_tell(scope: CancelScope, origin: CancelScope) -> bool:
    again: bool = _deliver(scope, origin)
    if again and origin is scope and scope._cancel_handle is not None:  # noqa: SLF001
        note = getattr(_get_running_loop(), "repeat_later", None)
        if note is not None:
            note(scope._cancel_handle)  # noqa: SLF001
    return again


def is_repeat(handle: asyncio.Handle) -> bool:
    """Tell whether the handle is a scope's that cancels once more."""
    return getattr(getattr(handle, "_callback", None), "__func__", None) is _deliver_and_tell


if _deliver is not None:
    CancelScope._deliver_cancellation = _deliver_and_tell  # type: ignore[assignment,method-assign]  # noqa: SLF001
