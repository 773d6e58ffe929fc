"""Own what a command found, as a value: rows, one thing, lines as they come. It knows no mode, and draws nothing.

A command says what there is in each form: as JSON, as a line of a script's, as an id, as a page for people. Which of
them is made is decided in `view.showing` alone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aiki import AikiError
    from aiki_cli.view.board import Board

T = TypeVar("T")

Drawing: TypeAlias = "RenderableType | str"
"""What Rich draws; a text is written as it is."""


@dataclass(frozen=True)
class End:
    """What a command comes to, beside what it found."""

    code: int = 0
    """The exit code, unless `error` has one."""
    error: AikiError | None = None
    """Reported as any error, where the result does not tell of it already."""
    problem: str | None = None
    """Said, where the result does not tell of it already."""
    said: str | None = None
    """Said in any case."""


@dataclass(frozen=True)
class Line:
    """One thing on a line of its own: as JSON, as cells or text, or as its id. None of these: no line."""

    value: object
    plain: str | Sequence[object] | None
    id: str | None = None


@dataclass(frozen=True)
class Text:
    """What is the same for whoever reads it."""

    text: str


@dataclass(frozen=True)
class Rows:
    """All there is, however many: a line of each, one document of all, a page for people."""

    lines: Iterable[Line]
    page: Callable[[], Sequence[Drawing]]
    document: Callable[[list[object]], object] = lambda values: values[0]
    """Returns the document that holds the values of the lines."""
    asides: Sequence[str] = ()
    """What is said beside the page."""
    end: End = field(default_factory=End)


@dataclass(frozen=True)
class Watched(Generic[T]):
    """What is shown on stderr until a result is there."""

    board: Board[Any]
    feed: Callable[[], AsyncGenerator[Any, None]]
    """Returns the changes of what stands on the board; asked only if it is shown."""
    ends_with: Callable[[T], bool] = lambda thing: False
    """Whether the feed is about to end, where this thing has come: then it is shown first."""
    stays_above: bool = False
    """Whether what stays of it on the screen stands above this thing, as it does of a single one."""


@dataclass(frozen=True)
class Lines(Generic[T]):
    """Things as they come, a line each."""

    things: AsyncGenerator[T, None]
    line: Callable[[T], Line]
    whole: Callable[[AsyncIterator[T]], Awaitable[Rows]] | None = None
    """Makes one document, or a page, of them; without it there is a line of each even where people read."""
    total: int | None = None
    """How many there will be, if a person may want to see how it gets on."""
    is_least: bool = False
    """Whether there may be more than that: so far they were counted."""
    end: Callable[[], End] = End
    """Returns what it came to, once the last has come."""
    doing: str = "enqueue"
    """What is done to them, for whoever sees how it gets on."""
    unit: str = "rows"
    """What they are called there."""
    named: str | None = None
    """The member of the one document that holds them, where they are written as they come; None: each is a document."""
    watched: Watched[T] | None = None
    """What is shown until they come."""


@dataclass(frozen=True)
class Changes(Generic[T]):
    """Things that change: a line of each change, or all of them drawn again; one document, or ids, at the end."""

    changes: AsyncGenerator[T, None]
    line: Callable[[T], Line | None]
    """Returns None where scripts need not be told."""
    now: Callable[[], Rows]
    """Returns how all of them stand now."""
    board: Board[T] | None = None
    """Shows them where people watch."""


@dataclass(frozen=True)
class Pages(Generic[T]):
    """The same, over and over: all of it each time, or drawn again."""

    things: AsyncGenerator[T, None]
    rows: Callable[[T], Rows]
    board: Board[T] | None = None
    """Shows it where people watch."""


Found: TypeAlias = Text | Line | Rows | Lines[Any] | Changes[Any] | Pages[Any]
