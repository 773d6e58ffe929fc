"""Own how long ended runs are kept: a period for each way in which a run can end, as people write it and as it is told.

Whoever says nothing of an end leaves it to who comes next: an applied manifest to the code, the code to the daemon.
`keep` says that such runs are kept for ever, whatever those who come next say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

from aiki.core.duration import LONGEST, MICROSECONDS, Duration, to_microseconds
from aiki.core.errors import UsageError
from aiki.core.near import did_you_mean
from aiki.core.states import State

Retention: TypeAlias = Duration | Mapping[str, Duration]
"""One period for all ended runs, or one for each state; text may be both: "30d", "completed=30d,failed=90d"."""

ALL: Final = ""
"""Stands for all workflows of a namespace that no manifest names."""
KEEP: Final = "keep"
FOR_EVER: Final = 0
SHORTEST: Final = 60 * MICROSECONDS["s"]
"""Whoever enqueues asks again until its deadline, and who waits for a result looks for it: both must find the run."""
ENDS: Final = (State.COMPLETED.value, State.FAILED.value, State.CANCELLED.value)
GONE: Final = "it was never enqueued here, or it has ended and was deleted after its retention"
"""What is to be said of a run of which nothing is known."""
_Period: TypeAlias = Annotated[int, Meta(ge=0, le=LONGEST)] | None
_UNITS: Final = ("d", "h", "m", "s")


class Periods(Struct, frozen=True, omit_defaults=True):
    """How long runs are kept after their end, in microseconds, by their state; FOR_EVER, or None if nothing is said.

    A run that was timed out has failed.
    """

    completed: _Period = None
    failed: _Period = None
    cancelled: _Period = None

    def of(self, state: State) -> int | None:
        """Return what is said of a terminal state."""
        found: int | None = getattr(self, state.value)
        return found

    def __str__(self) -> str:
        """Return them as people write them."""
        return words(self)


NOTHING: Final = Periods()


def read(given: Retention) -> Periods:
    """Return the periods that somebody has written. Raises UsageError that says what is wrong and what is possible."""
    if isinstance(given, str) and "=" in given:
        given = _parts(given)
    if isinstance(given, Mapping):
        for name in given:
            if name not in ENDS:
                meant = did_you_mean(str(name), ENDS, otherwise=f"expected {', '.join(ENDS)}")
                raise UsageError(
                    f"runs do not end as {str(name)[:40]!r}: {meant}", hint='{"completed": "30d", "failed": "90d"}'
                )
        return check(Periods(**{name: _period(value) for name, value in given.items()}))
    return check(Periods(*[_period(given)] * len(ENDS)))


def check(periods: Periods) -> Periods:
    """Return the periods. Raises UsageError for one that is too short."""
    for name in ENDS:
        value = periods.of(State(name))
        if value is not None and value != FOR_EVER and value < SHORTEST:
            raise UsageError(
                f"{name} runs are to be kept for less than a minute: who has enqueued one may still ask for it",
                hint=f'at least "1m", or {KEEP!r} for ever',
            )
    return periods


def joined(sources: Iterable[Periods]) -> Periods:
    """Return what is in force: of each end what the first of the sources says that says anything."""
    found = NOTHING
    for one in sources:
        said = {name: one.of(State(name)) for name in ENDS if found.of(State(name)) is None}
        found = replace(found, **said)
    return found


def words(periods: Periods) -> str:
    """Return the periods as people write them, `keep` if nothing is said of any."""
    told = {name: _word(periods.of(State(name))) for name in ENDS}
    if len(set(told.values())) == 1:
        return told[ENDS[0]] or KEEP
    return ",".join(f"{name}={word}" for name, word in told.items() if word)


def _parts(text: str) -> dict[str, Duration]:
    found: dict[str, Duration] = {}
    for part in text.split(","):
        name, equals, period = (word.strip() for word in part.partition("="))
        if not equals or name in found:
            what = f"{name[:40]!r} stands there twice" if equals else f"{part.strip()[:40]!r} says no period"
            raise UsageError(f"{what}", hint="completed=30d,failed=90d, or 30d for all")
        found[name] = period
    return found


def _period(given: object) -> int:
    if given == KEEP:
        return FOR_EVER
    value = to_microseconds(given)  # type: ignore[arg-type]  # which says what it is not
    if value == FOR_EVER:
        raise UsageError("a period of 0 keeps nothing", hint=f'at least "1m", or {KEEP!r} for ever')
    return value


def _word(period: int | None) -> str:
    if period is None:
        return ""
    if period == FOR_EVER:
        return KEEP
    made, rest = "", period
    for unit in _UNITS:
        count, rest = divmod(rest, MICROSECONDS[unit])
        made += f"{count}{unit}" if count else ""
    return made + (f"{rest}us" if rest else "")
