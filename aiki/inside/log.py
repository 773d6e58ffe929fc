"""Own the logger that is silent on replay."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import Any, Final

_logger: Final = logging.getLogger("aiki.run")


class RunLog(logging.LoggerAdapter[logging.Logger]):
    """A logger for workflow bodies: silent on replay, so each line appears once; records carry `run_id`."""

    def __init__(self, replaying: Callable[[], bool], *, run_id: str, workflow: str) -> None:
        super().__init__(_logger, {"run_id": run_id, "workflow": workflow})
        self._replaying = replaying

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's own name
        """Tell whether a line of this level would be written now."""
        return not self._replaying() and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the run's fields to the record, beside those of the caller."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs
