"""Own what people are told on stderr while they wait for a result: drawn over and over on a terminal, in lines off it.

It is drawn at once when something has changed, but no more than four times a second, and else once a second, since
what lasts and what is due ticks. Off a terminal each change is a line, and a minute in which none came is another:
whoever runs jobs takes one for dead that says nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from aiki import AikiError
from aiki_cli.view import screen
from aiki_cli.view.board import Board
from aiki_cli.view.output import Output, is_terminal

if TYPE_CHECKING:
    from rich.text import Text

T = TypeVar("T")

TICK_SECONDS: Final = 1.0
REST_SECONDS: Final = 0.25
"""For so long a drawing stands, whatever comes."""
LIFE_SECONDS: Final = 60.0


class Watcher(Generic[T]):
    """Shows a board on stderr, as it is told of changes."""

    def __init__(self, board: Board[T], out: Output, *, tells: bool, draws: bool) -> None:
        self.stays = True
        """Whether the last state stays on the screen; else it is told elsewhere."""
        self._board = board
        self._out = out
        self._tells = tells
        self._changed = asyncio.Event()
        self._screen = screen.Screen() if draws else None
        self._knows = False

    @property
    def is_drawn(self) -> bool:
        """Whether it is drawn, not told in lines."""
        return self._screen is not None

    def take(self, news: T) -> None:
        """Take in a change."""
        told = self._board.take(news)
        self._knows = True
        if self._screen is not None:
            self._changed.set()
        elif self._tells and told is not None:
            self._out.say(f"{_stamp()} {told}")
            self._changed.set()

    def said(self) -> None:
        """Take note that something was written, so that whoever reads that knows that we live."""
        self._changed.set()

    def step_aside(self) -> None:
        """Let what is written now stand above what is drawn, if it goes to the same terminal."""
        if self._screen is not None and is_terminal(sys.stdout):
            self._screen.wipe()
        self._changed.set()

    def conclude(self) -> None:
        """Leave on the terminal what is to stay, and draw no more."""
        drawn, self._screen = self._screen, None
        self._tells = False
        if drawn is not None:
            drawn.leave(_painted(self._board.rest) if self._knows and self.stays else ())

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Heed what becomes of the terminal, and leave on it what is to stay."""
        if self._screen is None:
            yield
            return
        loop = asyncio.get_running_loop()
        try:
            with screen.attended(partial(loop.call_soon_threadsafe, self._changed.set), self._screen.wipe):
                yield
        finally:
            self.conclude()

    async def show(self) -> None:
        """Show the board until this is cancelled."""
        await (self._draw() if self._screen is not None else self._live())

    async def _draw(self) -> None:
        while self._screen is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS - REST_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            if self._knows and self._screen is not None:
                self._screen.draw(_painted(self._board.frame))
            await asyncio.sleep(REST_SECONDS)

    async def _live(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LIFE_SECONDS):
                    await self._changed.wait()
                self._changed.clear()
            except TimeoutError:
                self._out.say(f"{_stamp()} {self._board.sign_of_life(datetime.now(UTC))}")


@asynccontextmanager
async def watching(board: Board[T], out: Output, *, tells: bool, draws: bool) -> AsyncGenerator[Watcher[T], None]:
    """Show the board on stderr until the end of the block: drawn, if it can be and `draws`; else in lines, if `tells`.

    Nothing is shown if people want it quiet.
    """
    watcher = Watcher(board, out, tells=tells, draws=draws and out.talkative and screen.can_draw())
    if out.quiet:
        yield watcher
        return
    with watcher.attended():
        showing = asyncio.create_task(watcher.show())
        try:
            yield watcher
        finally:
            showing.cancel()
            await asyncio.wait([showing])
    if not showing.cancelled():
        showing.result()


async def following(watcher: Watcher[T], feed: AsyncGenerator[T, None]) -> None:
    """Have the watcher take in what the feed brings, until its end.

    Whoever waits for a result learns of its errors there: a run that is unknown, a server that has no feed.
    """
    with suppress(AikiError):
        async with aclosing(feed) as news:
            async for one in news:
                watcher.take(one)


def _painted(lines: Callable[[datetime, int, int], Sequence[Text]]) -> list[str]:
    from aiki_cli.view.drawing import painted

    columns, rows = screen.size()
    width, height = max(columns - 1, 1), max(rows - 1, 1)
    return painted(lines(datetime.now(UTC), width, height), width=width)


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
