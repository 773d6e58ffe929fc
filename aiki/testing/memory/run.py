"""Own a run as the engine keeps it: what aikid keeps of it in rows stands here in one object."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.keys import DETAILS, RETRY, beginning, is_task
from aiki.core.states import TERMINAL, State
from aiki.rules.recording import is_start, is_under_way, tried, tries_of
from aiki.rules.standing import Standing
from aiki.testing.memory.inbox import RunInbox
from aiki.wire.messages import NONE, NULL, Attempt, Entry, NewRun, RunOptions, Unit
from aiki.wire.messages.options import ParentClose

_RETRIES: Final = beginning(RETRY)
_FAILED: Final = Raw(b"{}")
RouteKey: TypeAlias = tuple[str, str]
"""Workflow and version."""
TryKey: TypeAlias = tuple[str, int]
"""The key of a task, and the number of its try."""


class Line(NamedTuple):
    """One move of a run's story, and in which generation it stands; `length` is the journal's then, if it is said."""

    generation: int
    at: int
    move: str
    reason: str | None = None
    actor: str | None = None
    length: int | None = None


class Made(NamedTuple):
    """When a try came on record, by which claim of its run, and how long the journal was."""

    at: int
    epoch: int
    length: int


@dataclass(eq=False, slots=True)
class Life:
    """A generation of a run: its journal, and the tries beside it."""

    epoch: int = 0
    """How often the run had been claimed when it began."""
    journal: list[Entry] = field(default_factory=list)
    tries: dict[TryKey, Attempt] = field(default_factory=dict)
    made: dict[TryKey, Made] = field(default_factory=dict)
    tasks: int = 0
    """Outcomes of tasks in the journal that count."""
    workers: Sequence[str | None] = ()
    """Whose the first entries are, which were copied: of the others the run's own story says it."""
    triers: Mapping[TryKey, str | None] = field(default_factory=dict)
    """Whose the tries are that were copied."""

    def write(self, entries: Iterable[Entry]) -> None:
        """Add entries to the journal."""
        for entry in entries:
            self.journal.append(entry)
            self.tasks += is_task(entry.key)

    def told(self, after: int = 0, most: int | None = None) -> list[Entry]:
        """Return entries as a worker is told of them, without what the inbox or the story alone says."""
        entries = self.journal[after : None if most is None else after + most]
        return [replace(entry, takes=(), started=None, arguments=NULL) for entry in entries]

    def note(self, unit: Unit, now: int) -> None:
        """Take in the tries of a unit: what went wrong stands, and of what was said the last."""
        for number, one in tries_of(unit).items() if unit.attempts else ():
            known = self.tries.get(number)
            self.tries[number] = tried(known, one)
            if known is None or is_under_way(known):  # a start keeps its place in the story
                self.made[number] = Made(now, unit.fence.epoch, unit.base)

    def begin_early(self, now: int) -> None:
        """Have the retry of a run that was to go on later be of now: its time is not to run ahead."""
        if self.journal and (last := self.journal[-1]).key.startswith(_RETRIES) and last.at > now:
            self.journal[-1] = replace(last, at=now)

    def last_tries(self) -> list[Attempt]:
        """Return the last try of each task in the order of their keys, without what went wrong."""
        last = dict(sorted(self.tries))
        return [_bare(self.tries[number]) for number in last.items()]

    def next(self, epoch: int) -> Life:
        """Return the next life of the run, in which it shows of itself what it has shown in this one."""
        number = (DETAILS, 1)
        if number not in self.tries:
            return Life(epoch)
        return Life(epoch, tries={number: self.tries[number]}, made={number: self.made[number]._replace(length=0)})


@dataclass(eq=False, slots=True)
class Deadline:
    """When a run must have ended, and when that is to be looked at again; times in microseconds."""

    at: int | None
    timeout: int | None
    grace: int | None
    look_at: int | None
    told: int | None = None
    """The number of the arrival that told of it; 0 if the run had been told before to end."""


@dataclass(eq=False, slots=True)
class Link:
    """One start of a run: the child that it has made, or the run with its key that it has found."""

    parent: Run
    start_id: str
    child: Run
    owned: bool
    parent_close: ParentClose
    generation: int
    created_at: int


@dataclass(eq=False, slots=True)
class Run:
    """One run. What it looks like now is its `standing`: that is changed by `Store.stand` alone."""

    id: str
    workflow: str
    version: str
    input: Raw
    options: RunOptions
    digest: str | None
    created_at: int
    born_at: int
    """What a retry counts from; `created_at` says which is older, of all that come to be at one moment too."""
    standing: Standing
    inbox: RunInbox
    origin_id: str
    priority: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    attempt: int = 1
    life: Life = field(default_factory=Life)
    past: list[Life] = field(default_factory=list)
    """The generations before."""
    lines: list[Line] = field(default_factory=list)
    started_at: int | None = None
    """When it was claimed first."""
    began_at: int | None = None
    """When its generation was, if that is not its first one."""
    finished_at: int | None = None
    output: Raw = field(default_factory=lambda: NONE)
    error: Raw = field(default_factory=lambda: NONE)
    why: str | None = None
    waits: list[str] = field(default_factory=list)
    """What its last claim has rested for, in its own order: as far as it still does, its standing says so."""
    session: str | None = None
    """That holds it."""
    cancel_seq: int | None = None
    """The number of the first arrival that tells it to end."""
    deadline: Deadline | None = None
    retried_by: Run | None = None
    parent: Run | None = None
    parent_generation: int = 0
    depth: int = 0
    children: dict[str, Link] = field(default_factory=dict)
    """By the ids of their starts."""
    closing: int = 0
    """How often its children are still to be told to end."""
    hearers: list[Link] = field(default_factory=list)
    """Starts of others that have found it, and who hear of its end."""

    @classmethod
    def new(cls, run: NewRun, standing: Standing, *, created_at: int, born_at: int) -> Run:
        """Return the run that an enqueue or a start asks for."""
        options = run.options
        return cls(
            run.id,
            run.workflow,
            run.version,
            run.input,
            options,
            run.digest,
            created_at,
            born_at,
            standing,
            RunInbox(),
            run.id,
            options.priority or 0,
            dict(options.labels),
        )

    @property
    def route(self) -> RouteKey:
        """Who serves it."""
        return self.workflow, self.version

    @property
    def state(self) -> State:
        """Its state."""
        return self.standing.state

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.standing.state in TERMINAL

    @property
    def generation(self) -> int:
        """In which of its lives it is, from 0."""
        return self.standing.generation

    @property
    def newest(self) -> Run:
        """The run that goes on in the place of this one, or itself."""
        run = self
        while run.retried_by is not None:
            run = run.retried_by
        return run

    def count_unread(self) -> None:
        """Count the events in its inbox anew, where some were moved."""
        unread = sum(one.kind == "event" for one in self.inbox.unread.values())
        self.standing = dataclasses.replace(self.standing, news=self.inbox.news, unread=unread)

    def tell(
        self, at: int, move: str, *, reason: str | None = None, actor: str | None = None, length: int | None = None
    ) -> None:
        """Add a line to its story, in the generation in which it stands."""
        self.lines.append(Line(self.generation, at, move, reason, actor, length))


def _bare(attempt: Attempt) -> Attempt:
    """Return a try as a worker is told of it: that it failed, and not by what."""
    bare = replace(attempt, started=None, arguments=NULL)
    return bare if is_start(attempt) or is_under_way(attempt) else replace(bare, error=_FAILED)
