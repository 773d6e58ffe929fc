"""Own how a loop looks: at once when its alarm rings, else at its time, and what it does when storage is away."""

from __future__ import annotations

import logging
from typing import Protocol

from aiki.core.errors import ConfigError, Unavailable
from aiki.process.outages import Outage
from aikid.tell.alarm import Alarm

log = logging.getLogger("aikid.loops")


class Looker(Protocol):
    """What a daemon looks for by itself, over and over."""

    alarm: Alarm
    """When it looks next: a look may set it earlier than `every_seconds`, and so may others."""
    suffers: str
    """What the log says if it fails."""

    @property
    def every_seconds(self) -> float:
        """How long it does not look, if its alarm does not ring."""

    async def run_once(self) -> object:
        """Look once. Raises Unavailable if storage is away: the next look goes on.

        Raises ConfigError if this daemon must not go on.
        """


async def keep_looking(looker: Looker, outage: Outage) -> None:
    """Look until cancelled. While storage is away `outage` is told, and a bug is logged; both times it looks again.

    Raises ConfigError.
    """
    while True:
        # Before the look: what is told during it may have come too late for it.
        looker.alarm.forget()
        try:
            await looker.run_once()
        except Unavailable as error:
            outage.goes_on(error)
        except ConfigError:
            raise
        except Exception:
            log.exception("%s: a bug", looker.suffers)
        # After it: one that takes long shall not be followed by another at once.
        looker.alarm.due_in(looker.every_seconds)
        await looker.alarm.wait()
