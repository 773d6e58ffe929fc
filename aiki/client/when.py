"""Own when a schedule fires, as people say it and as they are told: by a calendar, by an interval, or once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, get_args

from msgspec.structs import replace

from aiki.core.duration import to_microseconds
from aiki.core.errors import UsageError
from aiki.core.moments import to_datetime, to_wire
from aiki.wire.limits import SLOTS
from aiki.wire.messages.schedules import DAY, Spec
from aiki.wire.messages.schedules import CatchUp as CatchUp
from aiki.wire.messages.schedules import Overlap as Overlap

UNCHANGED: Final[Any] = object()
_KINDS: Final = ("cron", "every", "at")


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """When a schedule fires: one of `cron`, `every` and `at` says it. All times are aware, in UTC."""

    cron: str | None = None
    every: timedelta | None = None
    at: datetime | None = None
    timezone: str = "UTC"
    """The zone of which `cron` names the hours."""
    anchor: datetime | None = None
    """A slot of `every`: the others are whole intervals from it. None is the first of January 1970."""
    start: datetime | None = None
    """No slot lies before."""
    end: datetime | None = None
    """No slot lies at or behind it."""
    jitter: timedelta = timedelta(0)
    """By less than this each slot is fired later; by how much follows from the schedule and the slot."""
    overlap: Overlap = "skip"
    catch_up: CatchUp = "latest"
    window: timedelta = timedelta(days=1)
    """How old a slot may be that is caught up with."""


WORDS: Final = tuple(field.name for field in fields(When))
"""What may be said of it."""


class Firing(NamedTuple):
    """A slot to come, and when its run is enqueued: with jitter somewhat later."""

    slot: datetime
    at: datetime


def from_spec(spec: Spec) -> When:
    """Return what is stored as people are told."""

    def moment(value: int | None) -> datetime | None:
        return None if value is None else to_datetime(value)

    return When(
        cron=spec.cron,
        every=None if spec.every is None else _length(spec.every),
        at=moment(spec.at),
        timezone=spec.timezone,
        anchor=to_datetime(spec.anchor) if spec.anchor else None,
        start=moment(spec.start),
        end=moment(spec.end),
        jitter=_length(spec.jitter),
        overlap=spec.overlap,
        catch_up=spec.catch_up,
        window=_length(spec.window),
    )


def changed(spec: Spec, given: Mapping[str, Any]) -> Spec:
    """Return the spec with what was given by its names in `When`; what is UNCHANGED stays. None is the default.

    One that is to fire by something else keeps nothing of what it fired by. Raises UsageError if nothing would fire so.
    """
    said = {name: _as_stored(name, value) for name, value in given.items() if value is not UNCHANGED}
    named = [name for name in _KINDS if said.get(name) is not None]
    if named and getattr(spec, named[0]) is None:
        spec = replace(spec, cron=None, every=None, at=None, timezone="UTC", anchor=0)
    made = replace(spec, **said)
    _check_company(made)
    from aiki.rules.calendar import check_spec

    check_spec(made)
    return made


def next_firings(count: int = 5, /, *, after: datetime | None = None, **given: Any) -> Sequence[datetime]:
    """Return the next slots of a schedule that fires so, by the words of `When`; nobody is asked.

    Raises UsageError if nothing would fire so.
    """
    from aiki.rules.calendar import slots

    since = datetime.now(UTC) if after is None else after
    spec = changed(Spec(), given)
    return [to_datetime(slot) for slot in islice(slots(spec, to_wire(since, what="after")), checked_count(count))]


def in_words(cron: str) -> str:
    """Return in words when a cron fires; of one that cannot be read, which a newer daemon may know, only that."""
    from aiki.rules.calendar import told

    try:
        return told(cron)
    except UsageError:
        return "unknown here"


def checked_count(count: Any) -> int:
    """Return how many slots are asked for. Raises UsageError if they are none, or too many."""
    if type(count) is not int or not 1 <= count <= SLOTS:
        raise UsageError(f"{count!r} slots: it must be a whole number from 1 to {SLOTS:,}")
    made: int = count
    return made


def checked_overlap(overlap: Any) -> Overlap:
    """Return what becomes of a slot while a run goes on. Raises UsageError for another word."""
    made: Overlap = _word(overlap, "overlap", get_args(Overlap))
    return made


def _check_company(spec: Spec) -> None:
    """Raise UsageError for a word that would count for nothing."""
    if spec.cron is None and spec.timezone != "UTC":
        raise UsageError("a timezone is for a cron: it says of which zone the hours are", hint='cron="0 2 * * *"')
    if spec.every is None and spec.anchor:
        raise UsageError("an anchor is for every: it says from where intervals are counted", hint='every="15m"')


def _as_stored(name: str, value: Any) -> Any:
    if name not in WORDS:
        raise UsageError(f"a schedule has no {name}=", hint=", ".join(WORDS))
    return _DEFAULTS.get(name) if value is None else _READ[name](value)


def _length(microseconds: int) -> timedelta:
    return timedelta(microseconds=microseconds)


def _text(value: Any, name: str, example: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name}={value!r}: it must be text", hint=f'{name}="{example}"')
    return value


def _word(value: Any, name: str, words: tuple[str, ...]) -> Any:
    if value not in words:
        raise UsageError(f"{name}={value!r}: it must be one of {', '.join(words)}")
    return value


_DEFAULTS: Final[Mapping[str, Any]] = {
    "timezone": "UTC",
    "anchor": 0,
    "jitter": 0,
    "overlap": "skip",
    "catch_up": "latest",
    "window": DAY,
}
"""What stands for None, where that is not None."""
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "cron": partial(_text, name="cron", example="0 2 * * *"),
    "every": to_microseconds,
    "at": partial(to_wire, what="at"),
    "timezone": partial(_text, name="timezone", example="Europe/Berlin"),
    "anchor": partial(to_wire, what="anchor"),
    "start": partial(to_wire, what="start"),
    "end": partial(to_wire, what="end"),
    "jitter": to_microseconds,
    "overlap": checked_overlap,
    "catch_up": partial(_word, name="catch_up", words=get_args(CatchUp)),
    "window": to_microseconds,
}
"""How each is read of what people give."""
