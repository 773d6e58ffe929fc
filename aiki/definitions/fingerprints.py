"""Own the fingerprint of a workflow's code: what tells that one version is not what it was.

It is of the body, of the functions and classes of its own module that this names, directly or by others, of the plain
values that it reads there, of the names of tasks, workflows and events, and of Python's minor version. It is the same
wherever and however often it is taken, whatever the lines, comments, docstrings and local variables are called; `-O`
changes it only where there is an `assert`. What tasks do, other modules, and what a list or dict holds are not in it:
it is a reason to look, by `aiki replay`, and no proof either way.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections import deque
from collections.abc import Iterator
from enum import Enum
from hashlib import blake2b
from types import FunctionType, MethodType
from typing import Any, Final

from aiki.definitions import bytecode
from aiki.definitions.bytecode import Form
from aiki.definitions.task import Task
from aiki.definitions.workflow import Workflow
from aiki.inside.event import Event

log = logging.getLogger("aiki.worker")

_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_MOST: Final = 2_000
"""Functions and classes that are looked at."""
_DEEPEST: Final = 20
"""How deep values may be nested."""
_GENERATED: Final = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__"})


def fingerprint(workflow: Workflow[..., Any]) -> str:
    """Return the fingerprint: Python's version, a dash, 32 hex digits. Empty if the code cannot be read."""
    try:
        forms = [*_Reading(workflow.fn).forms()]
    except Exception:  # what a module holds may be anything, and a worker starts with whatever it is
        log.debug("workflow %r has no fingerprint", workflow.name, exc_info=True)
        return ""
    told = repr(forms).encode("utf-8", "backslashreplace")
    return f"{_PYTHON}-{blake2b(told, digest_size=16).hexdigest()}"


def python_of(fingerprint: str) -> str:
    """Return the version of Python that a fingerprint was taken with."""
    return fingerprint.partition("-")[0]


class _Reading:
    """What is reached from one function, each once, in the order in which it is met."""

    def __init__(self, fn: Any) -> None:
        self._globals: dict[str, Any] = getattr(fn, "__globals__", {})
        self._module = self._globals.get("__name__")
        self._numbers: dict[int, int] = {}
        self._waiting: deque[Any] = deque()
        self._refer(fn)

    def forms(self) -> Iterator[Form]:
        """Yield what each function and class says, the first's first."""
        while self._waiting:
            one = self._waiting.popleft()
            yield tuple(self._class(one)) if isinstance(one, type) else tuple(self._function(one))

    def _refer(self, one: Any) -> Form:
        """Return by which number a function or class goes, and have it be read."""
        if id(one) not in self._numbers and len(self._numbers) < _MOST:
            self._numbers[id(one)] = len(self._numbers)
            self._waiting.append(one)
        return ("read", self._numbers.get(id(one), _MOST))

    def _function(self, fn: FunctionType) -> Iterator[object]:
        names: dict[str, None] = {}
        yield bytecode.read(fn.__code__, names)
        yield [self._value(each) for each in fn.__defaults__ or ()]
        yield [(name, self._value(each)) for name, each in sorted((fn.__kwdefaults__ or {}).items())]
        yield [self._value(_content(cell)) for cell in fn.__closure__ or ()]
        yield [(name, self._value(self._globals[name])) for name in names if name in self._globals]

    def _class(self, cls: type) -> Iterator[object]:
        yield [self._value(base) for base in cls.__bases__]
        held = sorted((name, each) for name, each in vars(cls).items() if name not in _GENERATED)
        yield [(name, self._value(each)) for name, each in held]

    def _value(self, value: Any, depth: int = 0) -> Form:
        """Return what a value says that code looks up: of what is not plain and not of this module, its type alone."""
        kind = type(value)
        if depth > _DEEPEST:
            return ("deep",)
        if kind in (tuple, frozenset):
            forms = [self._value(each, depth + 1) for each in value]
            return (kind.__name__, *(forms if kind is tuple else sorted(forms, key=repr)))
        if issubclass(kind, (FunctionType, MethodType, staticmethod, classmethod, property, functools.partial)):
            return self._callable(value, kind, depth)
        if issubclass(kind, (Task, Event)):
            return (kind.__name__, value.name)
        if issubclass(kind, Workflow):
            return (kind.__name__, value.name, value.version)
        if issubclass(kind, Enum):
            return ("enum", kind.__qualname__, value._name_, self._value(value._value_, depth + 1))
        if issubclass(kind, type):
            return self._refer(value) if value.__module__ == self._module else ("type", _named(value))
        if kind.__module__ == self._module:
            return ("of", self._refer(kind))
        return bytecode.constant(value, {})

    def _callable(self, value: Any, kind: type, depth: int) -> Form:
        if issubclass(kind, functools.partial):
            given = [*value.args, *(each for pair in sorted(value.keywords.items()) for each in pair)]
            return ("partial", *(self._value(each, depth + 1) for each in (value.func, *given)))
        if issubclass(kind, property):
            parts = (value.fget, value.fset, value.fdel)
            return ("property", *(self._value(each, depth + 1) for each in parts))
        if not issubclass(kind, FunctionType):
            return (kind.__name__, self._value(value.__func__, depth + 1))
        if value.__globals__ is self._globals:
            return self._refer(value)
        # Another module's decorator has made it of a function that may be ours.
        wrapped = value.__dict__.get("__wrapped__")
        inner = () if wrapped is None else (self._value(wrapped, depth + 1),)
        return ("function", _named(value), *inner)


def _named(one: Any) -> str:
    return f"{one.__module__}.{one.__qualname__}"


def _content(cell: Any) -> Any:
    """Return what a closure's cell holds; of one that is empty as yet, nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
