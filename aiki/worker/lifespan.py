"""Own what the tasks of a worker share: entered once in its process before it serves, left after it has drained.

Pools and HTTP clients belong to a loop: theirs is the worker's, on which async tasks run. Tasks in threads see the same
value and may use of it what is safe in threads. A task with `executor="process"` runs elsewhere and shares nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias

from aiki.core.errors import ConfigError, UsageError
from aiki.core.frames import users_traceback

EXIT_SECONDS: Final = 10.0
"""How long leaving may take: whoever stops a worker waits for its end."""
Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]

log = logging.getLogger("aiki.worker")


class Shared:
    """The one lifespan of a worker, entered and left by the same task. Without one there is nothing to share."""

    def __init__(self, lifespan: Lifespan | None) -> None:
        if lifespan is not None and not callable(lifespan):
            raise UsageError(
                f"lifespan={lifespan!r}: it must be a function that returns an async context manager",
                hint="decorate an async generator function with @contextlib.asynccontextmanager",
            )
        self._lifespan = lifespan
        self._manager: AbstractAsyncContextManager[Any] | None = None
        self.value: Any = None
        """What tasks share, once it was entered."""

    async def enter(self) -> None:
        """Make what tasks share. Raises ConfigError with the user's own traceback."""
        if self._lifespan is None:
            return
        try:
            manager = self._lifespan()
            _check_manager(manager)
            self.value = await manager.__aenter__()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"the worker's lifespan failed\n{users_traceback(error).rstrip()}") from error
        self._manager = manager

    async def leave(self) -> None:
        """Leave it, if it was entered, within EXIT_SECONDS. What goes wrong is logged: the worker ends all the same."""
        manager, self._manager = self._manager, None
        if manager is None:
            return
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                await manager.__aexit__(None, None, None)
        except TimeoutError:
            log.exception("the worker's lifespan was not left within %g s", EXIT_SECONDS)
        except Exception:
            log.exception("the worker's lifespan failed at its end")


def _check_manager(manager: object) -> None:
    if isinstance(manager, AbstractAsyncContextManager):
        return
    if inspect.iscoroutine(manager):
        manager.close()
    raise ConfigError(
        f"the worker's lifespan returned {type(manager).__name__}, and no async context manager",
        hint="decorate an async generator function with @contextlib.asynccontextmanager",
    )
