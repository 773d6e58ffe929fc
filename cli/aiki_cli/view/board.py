"""Own what a board is: what is known of things that are watched. It is told, and returns lines; it draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.text import Text

News = TypeVar("News", contravariant=True)


class Board(Protocol[News]):
    """What is known of things that are watched."""

    def take(self, news: News) -> str | None:
        """Take in a change, and return it in a line; None if nothing of it is to be told."""
        ...

    def frame(self, now: datetime, width: int, height: int) -> Sequence[Text]:
        """Return how all of them stand, in at most `height` lines."""
        ...

    def rest(self, now: datetime, width: int, height: int) -> Sequence[Text]:
        """Return what stays on the screen at the end."""
        ...

    def sign_of_life(self, now: datetime) -> str:
        """Return in a line that they are still watched, where nothing has changed for long."""
        ...
