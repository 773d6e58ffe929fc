"""Own the rule of when a task, or a workflow, is tried again. Pure: the clock and the randomness are passed in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, assert_never

from aiki.core.duration import Duration, to_seconds
from aiki.core.errors import Fatal, RetryAfter, UsageError

Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
Kind: TypeAlias = Literal["fixed", "exponential", "jittered", "linear", "delays"]

_LARGEST_EXPONENT: Final = 62
"""Beyond it the delay is max_delay anyway, and a float would overflow."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a task or a workflow is tried, and how long to wait between tries. Make one by a constructor below.

    `only_on` and `never_on` are exception classes: with `only_on` other errors are final, errors of `never_on` always
    are. `max_elapsed` bounds the time from the first start to the next one. Delays are in seconds.
    """

    kind: Kind
    max_attempts: int
    base_delay: float = 0.0
    max_delay: float = 0.0
    delays: tuple[float, ...] = ()
    only_on: tuple[type[BaseException], ...] = ()
    never_on: tuple[type[BaseException], ...] = ()
    max_elapsed: float | None = None

    @classmethod
    def fixed(
        cls,
        max_attempts: int,
        delay: Duration,
        *,
        only_on: Errors = (),
        never_on: Errors = (),
        max_elapsed: Duration | None = None,
    ) -> "Retry":
        """Wait the same `delay` before each further attempt. Raises UsageError on values that make no sense."""
        seconds = to_seconds(delay)
        return _retry("fixed", max_attempts, seconds, seconds, (), only_on, never_on, max_elapsed)

    @classmethod
    def exponential(
        cls,
        max_attempts: int,
        base_delay: Duration,
        max_delay: Duration = "1h",
        *,
        only_on: Errors = (),
        never_on: Errors = (),
        max_elapsed: Duration | None = None,
    ) -> "Retry":
        """Wait `base_delay`, then twice as long each time, up to `max_delay`. Raises UsageError as `fixed`."""
        base, longest = to_seconds(base_delay), to_seconds(max_delay)
        return _retry("exponential", max_attempts, base, longest, (), only_on, never_on, max_elapsed)

    @classmethod
    def jittered(
        cls,
        max_attempts: int,
        base_delay: Duration,
        max_delay: Duration = "1h",
        *,
        only_on: Errors = (),
        never_on: Errors = (),
        max_elapsed: Duration | None = None,
    ) -> "Retry":
        """Wait a random part of the exponential delay, so that many failures do not come back at once.

        Full jitter after the AWS Architecture Blog, "Exponential Backoff And Jitter" (2015): uniform in
        [0, min(max_delay, base_delay * 2 ** (attempt - 1))]. Raises UsageError as `fixed`.
        """
        base, longest = to_seconds(base_delay), to_seconds(max_delay)
        return _retry("jittered", max_attempts, base, longest, (), only_on, never_on, max_elapsed)

    @classmethod
    def linear(
        cls,
        max_attempts: int,
        base_delay: Duration,
        max_delay: Duration = "1h",
        *,
        only_on: Errors = (),
        never_on: Errors = (),
        max_elapsed: Duration | None = None,
    ) -> "Retry":
        """Wait `base_delay` times the attempts made, up to `max_delay`. Raises UsageError as `fixed`."""
        base, longest = to_seconds(base_delay), to_seconds(max_delay)
        return _retry("linear", max_attempts, base, longest, (), only_on, never_on, max_elapsed)

    @classmethod
    def from_delays(
        cls,
        delays: Sequence[Duration],
        *,
        only_on: Errors = (),
        never_on: Errors = (),
        max_elapsed: Duration | None = None,
    ) -> "Retry":
        """Wait the given delays in turn; there is one attempt more than delays. Raises UsageError as `fixed`."""
        if isinstance(delays, str):
            raise UsageError(f"delays={delays!r} is a text: write a list, such as [{delays!r}]")
        seconds = tuple(to_seconds(delay) for delay in delays)
        longest = max(seconds, default=0.0)
        return _retry("delays", len(seconds) + 1, 0.0, longest, seconds, only_on, never_on, max_elapsed)

    @classmethod
    def none(cls) -> "Retry":
        """Try once."""
        return cls("delays", 1)

    def next_delay(self, attempt: int, *, elapsed: float, random: Callable[[], float]) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up.

        `attempt` counts the tries already made, from 1; `elapsed` is the seconds since the first of them started;
        `random` returns a float in [0, 1). Raises ValueError if attempt < 1.
        """
        if attempt < 1:
            raise ValueError(f"attempt={attempt}: attempts are counted from 1")
        if attempt >= self.max_attempts:
            return None
        delay = self._delay(attempt, random)
        if self.max_elapsed is not None and elapsed + delay > self.max_elapsed:
            return None
        return delay

    def retries(self, error: BaseException) -> bool:
        """Tell whether another attempt could help after `error`: Fatal, `only_on` and `never_on` decide."""
        if isinstance(error, (Fatal, *self.never_on)):
            return False
        return not self.only_on or isinstance(error, (RetryAfter, *self.only_on))

    def _delay(self, attempt: int, random: Callable[[], float]) -> float:
        match self.kind:
            case "fixed":
                return self.base_delay
            case "linear":
                return min(self.max_delay, self.base_delay * attempt)
            case "exponential":
                return self._doubled(attempt)
            case "jittered":
                return random() * self._doubled(attempt)
            case "delays":
                return self.delays[attempt - 1]
            case unreachable:
                assert_never(unreachable)

    def _doubled(self, attempt: int) -> float:
        return float(min(self.max_delay, self.base_delay * 2 ** min(attempt - 1, _LARGEST_EXPONENT)))


def _retry(  # every constructor passes all of it
    kind: Kind,
    max_attempts: int,
    base_delay: float,
    max_delay: float,
    delays: tuple[float, ...],
    only_on: Errors,
    never_on: Errors,
    max_elapsed: Duration | None,
) -> Retry:
    if type(max_attempts) is not int or max_attempts < 1:
        raise UsageError(f"max_attempts={max_attempts!r}: it must be a whole number, 1 or more")
    if base_delay > max_delay:
        raise UsageError(f"the base delay of {base_delay} s is longer than max_delay, {max_delay} s")
    limit = None if max_elapsed is None else to_seconds(max_elapsed)
    only, never = _classes("only_on", only_on), _classes("never_on", never_on)
    return Retry(kind, max_attempts, base_delay, max_delay, delays, only, never, limit)


def _classes(option: str, errors: Any) -> tuple[type[BaseException], ...]:
    classes = errors if isinstance(errors, tuple) else (errors,)
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise UsageError(f"{option}={kind!r}: it must be an exception class or a tuple of them")
    return tuple(classes)


NO_RETRY: Final = Retry.none()
"""What a workflow without `retry=` gets."""
DEFAULT_RETRY: Final = Retry.jittered(max_attempts=3, base_delay="1s")
"""What a task without `retry=` gets."""
