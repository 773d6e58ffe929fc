"""Own what a workflow's body reads that is another on replay: clocks, chance and the environment, by their usual names.

It is seen in the bytecode of the body and of the plain functions of its module that it calls itself, one level deep;
names that mean something else there, and tasks, are left alone. What `# aiki: allow` stands beside is meant so.
"""

from __future__ import annotations

import inspect
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any, Final, TypeAlias

from aiki.definitions.lookups import Lookup, is_a, looked_through

_ALLOWED: Final = re.compile(r"#\s*aiki:\s*allow\b")

_NOW: Final = "use run.now()"
_RANDOM: Final = "use run.random()"
_OUTSIDE: Final = "read it in a task, or pass it as a parameter"
_CLOCKS: Final = ("time", "monotonic", "perf_counter", "process_time")
_CHANCE: Final = (
    *(
        "random",
        "uniform",
        "randint",
        "randrange",
        "choice",
        "choices",
        "sample",
        "shuffle",
        "randbytes",
        "getrandbits",
    ),
    *("triangular", "betavariate", "binomialvariate", "expovariate", "gammavariate", "gauss", "lognormvariate"),
    *("normalvariate", "vonmisesvariate", "paretovariate", "weibullvariate", "seed", "SystemRandom"),
)
_NAMES: Final = (
    ("time", (*_CLOCKS, *(f"{clock}_ns" for clock in _CLOCKS)), _NOW),
    ("time", ("sleep",), 'use `await run.sleep("10s")`'),
    ("random", _CHANCE, _RANDOM),
    ("secrets", ("token_bytes", "token_hex", "token_urlsafe", "choice", "randbelow", "randbits"), "make it in a task"),
    ("os", ("urandom",), "make it in a task"),
    ("uuid", ("uuid1", "uuid4", "uuid6", "uuid7"), "use run.uuid()"),
    ("os", ("environ", "environb", "getenv", "getenvb"), _OUTSIDE),
)
_OF_DATES: Final = ("now", "utcnow", "today")

Words: TypeAlias = dict[int, tuple[str, str]]


class BodyWarning(UserWarning):
    """A workflow's body reads what is another on replay, or would hold up its worker."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A line of a body, or of a function that it calls, that reads such a thing."""

    file: str
    line: int
    function: str
    what: str
    """As `time.time()`."""
    instead: str
    """What to do."""

    def told_of(self, workflow: str) -> str:
        """Return what is wrong, for a workflow's name."""
        found = "would hold up all runs of its worker" if self.what == "time.sleep()" else "is another on replay"
        return f"workflow {workflow!r}: {self.what} in {self.function} {found}: {self.instead}"


def warn(workflow: str, fn: Callable[..., Any]) -> None:
    """Warn of each line of a workflow's function that reads such a thing; of each once in a process."""
    for one in readings(fn):
        known = inspect.unwrap(fn).__globals__.setdefault("__warningregistry__", {})
        warnings.warn_explicit(one.told_of(workflow), BodyWarning, one.file, one.line, registry=known)


def readings(fn: Callable[..., Any]) -> list[Reading]:
    """Return what a workflow's function reads, in the order of its lines, then what the functions that it calls do."""
    words = _words()
    looked = looked_through(fn, lambda value: id(value) in words or _has_members(value))
    return [reading for each, found in looked for reading in _of_function(each, found, words)]


def _of_function(fn: FunctionType, looked_up: Iterable[Lookup], words: Words) -> list[Reading]:
    file, found = fn.__code__.co_filename, set[Reading]()
    for one in looked_up:
        if (known := words.get(id(one.value)) or _of_class(one)) and not _is_allowed(file, one.line):
            found.add(Reading(file, one.line, f"{fn.__name__}()", *known))
    return sorted(found, key=lambda one: (one.line, one.what))


def _words() -> Words:
    """Return what is looked for, by its identity, with its name and what to do instead; of modules that are loaded."""
    found: dict[int, tuple[str, str]] = {}
    for module, names, instead in _NAMES:
        members = vars(sys.modules[module]) if module in sys.modules else {}
        for name in names:
            if name in members:
                call = "()" if callable(members[name]) else ""
                found[id(members[name])] = (f"{module}.{name}{call}", instead)
    return found


def _has_members(value: Any) -> bool:
    """Tell whether `_of_class` may know the value, or something of it."""
    if is_a(type, value):
        return issubclass(value, date) or value is _unseeded()
    return is_a((BuiltinMethodType, MethodType), value)


def _of_class(one: Lookup) -> tuple[str, str] | None:
    """Return the same for what belongs to a class: `datetime.now()`, a `Random()` that nobody seeds."""
    if is_a((BuiltinMethodType, MethodType), one.value):
        owner = one.value.__self__
        if is_a(type, owner) and issubclass(owner, date) and one.value.__name__ in _OF_DATES:
            return f"{owner.__name__}.{one.value.__name__}()", _NOW
    if one.is_called_bare and one.value is _unseeded():
        return "random.Random()", "seed it: random.Random(run.random())"
    return None


def _unseeded() -> type | None:
    """Return the class of generators, if anybody has it."""
    return getattr(sys.modules.get("random"), "Random", None)


def _is_allowed(file: str, line: int) -> bool:
    return _ALLOWED.search(linecache.getline(file, line)) is not None
