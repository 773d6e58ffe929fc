"""Own the file of exported runs: JSON lines that are read and written one run at a time.

The first line says what it is, and the last how many runs it has:

    {"aiki_export": 1, "namespace": "shop", "exported_at": 1767225600000000, "aiki": "0.1.0"}
    {"line": "run", "id": …, "workflow": …, "version": …, "state": …, "input": …, "entries": 2, …}
                        what it rests for is in its `waits` and `due_at`, if it does
    {"line": "entry", "seq": 1, "key": …, "ok": true, "value": …, "at": …}      its journal, in order
    {"line": "try", "key": …, "attempt": 1, "error": …, "next_at": …}           the last try of each task beside it
    {"line": "end", "number": 1, "kind": "child", "name": …, "value": …}        ends of children that it has taken
    {"line": "unread", "number": 2, "kind": "event", "name": …, "value": …}     what has come, and was not taken
    {"line": "story", "length": 0, "at": …, "move": "claim", "actor": …}        what happened to it, for people
    {"line": "over", "runs": 1}

Times are microseconds since 1970. Payloads are as they are, secrets in them, too. Members that are not known are
ignored; a file of a newer version is refused, and so is one that is cut off: a run says how many lines it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, fields

from aiki.core.errors import AikiError, PayloadError, Unsupported
from aiki.core.ids import parse_run_id
from aiki.replay.recording import Recording
from aiki.rules import importing
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import (
    Arrival,
    Attempt,
    Claimed,
    Entry,
    Exported,
    Fence,
    HistoryItem,
    ImportedArrival,
    ImportedRun,
    ImportedTry,
)
from aiki.wire.messages.exports import Waits

FORMAT: Final = 1
LINE_BYTES: Final = 4 * MESSAGE_BYTES
"""No line of ours is longer: a run has an input and a result, each of which fits a message."""
RUN_BYTES: Final = 256 * 1024 * 1024
"""All lines of one run: its journal is in memory whole."""
_TAG: Final = "line"


class Header(Struct):
    """The first line."""

    aiki_export: int
    namespace: str
    exported_at: int
    aiki: str = ""


class RunLine(ImportedRun, tag="run", tag_field=_TAG, omit_defaults=True):
    """A run, and how many lines of each kind follow beside its entries."""

    tries: int = 0
    ends: int = 0
    unread: int = 0
    story: int = 0
    waits: Waits = []
    due_at: int | None = None


class OverLine(Struct, tag="over", tag_field=_TAG):
    """The last line."""

    runs: int


def _line_of(kind: type[Struct], tag: str, *before: tuple[str, Any]) -> Any:
    """Return the type of a line that has the members of what travels as an array."""
    members: list[Any] = [*before]
    for field in fields(kind):
        known = (field.encode_name, field.type)
        if field.default is not msgspec.NODEFAULT:
            members.append((*known, field.default))
        elif field.default_factory is not msgspec.NODEFAULT:
            members.append((*known, msgspec.field(default_factory=field.default_factory)))
        else:
            members.append(known)
    return msgspec.defstruct(f"{kind.__name__}Line", members, tag=tag, tag_field=_TAG, omit_defaults=True)


_ENTRY: Final = _line_of(Entry, "entry", ("seq", int))
_TRY: Final = _line_of(Attempt, "try")
_END: Final = _line_of(Arrival, "end")
_UNREAD: Final = _line_of(Arrival, "unread")
_STORY: Final = _line_of(HistoryItem, "story", ("length", int))
_encoder: Final = msgspec.json.Encoder()
_header: Final = msgspec.json.Decoder(Header)
_lines: Final = msgspec.json.Decoder(RunLine | _ENTRY | _TRY | _END | _UNREAD | _STORY | OverLine)
_TOLD_ELSEWHERE: Final = frozenset({"entry", "event"})
"""Lines of a story that have lines of their own here."""


# -- writing


class Writer:
    """Writes runs to a file that is open, and closes with the number of them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.runs = 0

    def begin(self, *, namespace: str, exported_at: int) -> None:
        """Write the first line."""
        from importlib.metadata import version  # few write a file, and it takes a while

        self._write(Header(FORMAT, namespace, exported_at, version("aiki")))

    def add(self, recording: Recording) -> None:
        """Write a run."""
        story = list(_story(recording))
        self.runs += 1
        self._write(_run_line(recording, story=len(story)))
        for seq, entry in enumerate(recording.entries, 1):
            self._write(_ENTRY(seq=seq, **_members(entry)))
        for kind, items in ((_TRY, recording.tries), (_END, recording.ends), (_UNREAD, recording.unread)):
            for item in items:
                self._write(kind(**_members(item)))
        for length, told in story:
            self._write(_STORY(length=length, **_members(told)))

    def end(self) -> None:
        """Write the last line."""
        self._write(OverLine(self.runs))

    def _write(self, line: Struct) -> None:
        raw = _encoder.encode(line)
        if b"\n" in raw or b"\r" in raw:  # a payload is as its sender has written it
            raw = msgspec.json.format(raw, indent=-1)
        self._stream.write(raw + b"\n")


def _story(recording: Recording) -> Iterator[tuple[int, HistoryItem]]:
    """Yield what has no line of its own, each with the length of the journal then."""
    length = 0
    for item in recording.history:
        length += item.move == "entry" and item.generation == recording.exported.run.generation
        if item.move not in _TOLD_ELSEWHERE:
            yield length, item


def _members(one: Struct) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


def run_of(recording: Recording) -> ImportedRun:
    """Return a recorded run as it is imported, and as the first of its lines."""
    one, run = recording.exported, recording.exported.run
    return ImportedRun(
        id=run.fence.run_id,
        workflow=run.workflow,
        version=run.version,
        state=one.state,
        input=run.input,
        origin_id=run.origin_id,
        created_at=one.created_at,
        started_at=run.started_at,
        claims=run.claims,
        finished_at=one.finished_at,
        output=one.output,
        error=one.error,
        why=one.why,
        key=run.key,
        labels=run.labels,
        priority=run.priority,
        attempt=run.attempt,
        generation=run.generation,
        first_at=run.first_at,
        parent=run.parent,
        depth=run.depth,
        retry=run.retry,
        fired=run.fired,
        suspect=run.suspect,
        news=run.news,
        entries=len(recording.entries),
    )


def _run_line(recording: Recording, *, story: int) -> RunLine:
    beside = {"tries": len(recording.tries), "ends": len(recording.ends), "unread": len(recording.unread)}
    rest = {"story": story, "waits": recording.exported.waits, "due_at": recording.exported.due_at}
    members: dict[str, Any] = asdict(run_of(recording)) | beside | rest
    return RunLine(**members)


# -- reading


class Reader:
    """The runs of a file that is open, each checked whole before it is given. `source` is its name."""

    def __init__(self, stream: IO[bytes], source: str) -> None:
        """Read the first line. Raises PayloadError if it is none of ours, Unsupported if it is of a newer version."""
        self._stream = stream
        self._source = source
        self._line = 0
        self._seen: dict[str, int] = {}
        """In which line each run begins."""
        self._tried: set[str] = set()
        """Tasks of the run that is being read, of which a try was."""
        self._story = 0
        self._told = 0
        """So many entries of it are in its story."""
        self._size = 0
        self.header = self._begin()

    def __iter__(self) -> Iterator[Recording]:
        """Yield the runs. Raises PayloadError, which names the line, for what can be none."""
        line = self._next()
        while isinstance(line, RunLine):
            recording, line = self._run(line)
            yield recording
        self._end(line)

    def _begin(self) -> Header:
        raw = self._raw()
        try:
            header = _header.decode(raw.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise PayloadError(
                f"{self._source} is no export of runs: its first line does not say that it is",
                hint=f"aiki run export RUN --to {'FILE' if self._source == 'stdin' else self._source}",
            ) from None
        if header.aiki_export > FORMAT:
            raise Unsupported(
                f"{self._source} was written by aiki {header.aiki or 'of a newer version'} as version"
                f" {header.aiki_export} of its format; this one reads up to {FORMAT}",
                hint="pip install --upgrade aiki",
            )
        if header.aiki_export < 1 or not importing.is_plain(header.namespace):
            raise self._bad("the version or the namespace is none")
        return header

    def _run(self, line: RunLine) -> tuple[Recording, Any]:
        """Return the run that this line begins, and the line behind it."""
        began = self._line
        self._check(partial(_check_run, line))
        if line.id in self._seen:
            raise self._bad(f"run {line.id} stands in line {self._seen[line.id]} already")
        self._seen[line.id] = began
        recording = Recording(_exported(line), namespace=self.header.namespace, exported_at=self.header.exported_at)
        self._tried.clear()
        self._story = self._told = 0
        size, here = 0, self._next()
        while not isinstance(here, RunLine | OverLine) and here is not None:
            self._check(partial(self._take, recording, here))
            size += self._size
            if size > RUN_BYTES:
                raise self._bad(f"run {line.id} has more than {RUN_BYTES:,} bytes, more than any run may have")
            here = self._next()
        self._check_whole(line, recording, began)
        if recording.history:
            self._tell(recording, len(recording.entries))
        return recording, here

    def _take(self, recording: Recording, line: Any) -> None:
        members = _members(line)
        match line:
            case _ if type(line) is _ENTRY:
                seq, entry = members.pop("seq"), Entry(**members)
                if seq != len(recording.entries) + 1:
                    raise PayloadError(f"entry {seq} stands where entry {len(recording.entries) + 1} is expected")
                importing.check_entries([entry], base=seq - 1, room=MESSAGE_BYTES)
                recording.entries.append(entry)
            case _ if type(line) is _TRY:
                one = Attempt(**members)
                importing.check_try(
                    ImportedTry(one.key, one.attempt, one.error, one.next_at, one.details, one.details_at),
                    room=MESSAGE_BYTES,
                )
                if one.key in self._tried:
                    raise PayloadError(f"a second try of {one.key[:100]!r} stands here: expected the last alone")
                self._tried.add(one.key)
                recording.tries.append(one)
            case _ if type(line) is _STORY:
                self._tell(recording, members.pop("length"))
                recording.history.append(_checked_item(HistoryItem(**members)))
                self._story += 1
            case _:
                arrival = Arrival(**members)
                importing.check_arrivals([ImportedArrival(**members)], room=MESSAGE_BYTES)
                self._arrive(recording.ends if type(line) is _END else recording.unread, arrival)

    def _tell(self, recording: Recording, length: int) -> None:
        """Have the story go on by the entries up to this length."""
        if not self._told <= length <= len(recording.entries):
            raise PayloadError(f"`length` is {length}, and expected {self._told} to {len(recording.entries)}")
        generation = recording.exported.run.generation
        recording.history += [
            HistoryItem(entry.at, "entry", key=entry.key, ok=entry.ok, value=entry.value, generation=generation)
            for entry in recording.entries[self._told : length]
        ]
        self._told = length

    @staticmethod
    def _arrive(arrivals: list[Arrival], one: Arrival) -> None:
        if arrivals and arrivals[-1].number >= one.number:
            raise PayloadError(f"arrival {one.number} stands behind arrival {arrivals[-1].number}")
        arrivals.append(one)

    def _check_whole(self, line: RunLine, recording: Recording, began: int) -> None:
        for name, wanted, found in (
            ("entries", line.entries, recording.entries),
            ("tries", line.tries, recording.tries),
            ("ends", line.ends, recording.ends),
            ("unread", line.unread, recording.unread),
            ("story", line.story, range(self._story)),
        ):
            if len(found) != wanted:
                raise PayloadError(
                    f"{self._source}:{began}: run {line.id} says that it has {wanted:,} lines of its `{name}`, and"
                    f" {len(found):,} are here: the file was cut off, or its lines were mixed",
                    hint=f"aiki run export {line.id}",
                )

    def _end(self, line: Any) -> None:
        """Check the last line, and that nothing stands behind it."""
        if line is None:
            raise self._bad(f"the file ends behind {len(self._seen):,} runs, without its last line: it was cut off")
        if not isinstance(line, OverLine):
            raise self._bad("a line of a run stands before the first run")
        if line.runs != len(self._seen):
            raise self._bad(f"it says that there are {line.runs:,} runs, and {len(self._seen):,} are here")
        if self._next() is not None:
            raise self._bad("something stands behind the last line: give files one by one")

    # -- lines

    def _next(self) -> Any:
        """Return the next line that is not empty; None at the end."""
        while raw := self._raw():
            if raw.isspace():
                continue
            try:
                return _lines.decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                if b'"aiki_export"' in raw[:100]:
                    raise self._bad("another export begins here: give files one by one") from None
                raise self._bad(str(error)) from None
            except RecursionError:
                raise self._bad("it is nested too deep") from None
        return None

    def _raw(self) -> bytes:
        self._line += 1
        raw = self._stream.readline(LINE_BYTES + 1)
        self._size = len(raw)
        if self._size > LINE_BYTES:
            raise self._bad(f"the line has more than {LINE_BYTES:,} bytes")
        return raw

    def _check(self, look: Callable[[], None]) -> None:
        try:
            look()
        except AikiError as error:
            raise self._bad(error.message) from None

    def _bad(self, what: str) -> PayloadError:
        return PayloadError(f"{self._source}:{self._line}: {what}")


def _check_run(line: RunLine) -> None:
    importing.check_run(line, room=MESSAGE_BYTES)
    importing.check_times(line.due_at)
    if not all(importing.is_plain(word) for word in line.waits):
        raise PayloadError("`waits` holds NUL")


def _exported(line: RunLine) -> Exported:
    claimed = Claimed(
        fence=Fence(parse_run_id(line.id), line.claims, ""),
        origin_id=line.origin_id,
        workflow=line.workflow,
        version=line.version,
        input=line.input,
        claims=line.claims,
        started_at=line.started_at,
        key=line.key,
        labels=line.labels,
        length=line.entries,
        tries=line.tries,
        suspect=line.suspect,
        attempt=line.attempt,
        generation=line.generation,
        news=line.news,
        unread=line.unread,
        parent=line.parent,
        depth=line.depth,
        priority=line.priority,
        retry=line.retry,
        first_at=line.first_at,
        fired=line.fired,
    )
    ended = (line.finished_at, line.output, line.error, line.why)
    return Exported(claimed, line.state, line.created_at, *ended, waits=line.waits, due_at=line.due_at)


def _checked_item(item: HistoryItem) -> HistoryItem:
    for name in ("move", "reason", "actor", "key"):
        text: str | None = getattr(item, name)
        if text is not None and not importing.is_plain(text):
            raise PayloadError(f"`{name}` holds NUL")
    importing.check_times(item.at, item.due_at)
    if item.value:
        importing.check_value(bytes(item.value), what="`value`", room=MESSAGE_BYTES)
    return item
