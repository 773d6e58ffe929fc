"""Own options that several commands take together: a frozen dataclass, each of whose fields is an option.

A command has it as one parameter, and Typer sees its fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints


def parameters(body: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a command as Typer is to see them, without the session."""
    hints = get_type_hints(body, include_extras=True)
    _, *own = inspect.signature(body).parameters.values()
    return [one for parameter in own for one in _seen(parameter, hints[parameter.name])]


def _seen(parameter: inspect.Parameter, kind: Any) -> Iterator[inspect.Parameter]:
    if not is_dataclass(kind):
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind)
        return
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )


def arguments(body: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the command is called with, of what Typer has read for its parameters."""
    hints, left = get_type_hints(body, include_extras=True), dict(values)
    for name, kind in hints.items():
        if isinstance(kind, type) and is_dataclass(kind):
            left[name] = kind(**{field.name: left.pop(field.name) for field in fields(kind)})
    return left
