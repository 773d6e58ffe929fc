"""Own the reading of a function's annotations, and the words for what cannot cross the durable boundary."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    ForwardRef,
    ParamSpec,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec.inspect

from aiki.core.errors import UsageError
from aiki.core.frames import place

if sys.version_info >= (3, 14):
    from annotationlib import Format

if TYPE_CHECKING:
    Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
else:
    Json = Any
"""Any JSON value, as an annotation. It is checked to be JSON; nothing more is known about it."""

_REBUILT: Final = (Union, UnionType, list, tuple, dict)

Scope: TypeAlias = Mapping[str, Any] | None
"""Names of the place where a function was defined, beyond its module's: those of an enclosing function."""


class Refused(Exception):
    """An annotation that cannot be used, and why. Inside Aiki only: users get a UsageError that says where."""


class Unresolved(Exception):
    """An annotation names something that is not defined (yet). Inside Aiki only."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def local_scope(depth: int) -> Scope:
    """Return the variables of the caller `depth` frames up if that is inside a function or class, else None.

    Annotations that are text (`from __future__ import annotations`) can name classes that live only there.
    """
    frame = sys._getframe(depth + 1)  # noqa: SLF001 - the standard library has no other way either
    return None if frame.f_locals is frame.f_globals else frame.f_locals


def hints(fn: Callable[..., Any], scope: Scope) -> dict[str, Any]:
    """Return the resolved annotations of `fn`. Raises Unresolved if one names what is not defined."""
    try:
        return _hints(fn, dict(scope) if scope else None)
    except NameError as error:
        raise Unresolved(error.name or str(error)) from None


def signature(fn: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of `fn`, whose annotations may name what is not defined (yet)."""
    try:
        return inspect.signature(fn)
    except NameError:
        if sys.version_info >= (3, 14):
            return inspect.signature(fn, annotation_format=Format.STRING)
        raise


def tree(annotation: Any) -> msgspec.inspect.Type:
    """Return msgspec's description of a type. Raises Refused with our own words, Unresolved on undefined names."""
    _refuse_type_variables(annotation)
    try:
        return msgspec.inspect.type_info(annotation)
    except NameError as error:
        raise Unresolved(error.name or str(error)) from None
    except (TypeError, NotImplementedError) as error:
        raise Refused(_reworded(annotation, str(error))) from None


def with_ints(annotation: Any) -> Any:
    """Return the annotation with `int | float` for `float`, also inside lists and the like: so 3 is read as 3 again.

    A float's place takes an int, as for type checkers. Only the fields of classes, and numbers with constraints, remain
    floats: there 3 is read as the 3.0 that equals it.
    """
    if annotation is float:
        return int | float
    origin, arguments = get_origin(annotation), get_args(annotation)
    made = tuple(map(with_ints, arguments)) if origin in _REBUILT else arguments
    if made == arguments:
        return annotation
    return reduce(or_, made) if origin in (Union, UnionType) else origin[made]


def check_signature(fn: Callable[..., Any], signature: inspect.Signature, *, skip: int, owner: str) -> None:
    """Refuse what can be seen without resolving annotations. Raises UsageError that names the parameter.

    The first `skip` parameters are given by Aiki and not part of the payload.
    """
    parameters = list(signature.parameters.values())
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise unusable(owner, fn, parameter.name, f"`*{parameter.name}` has no names to store: take a list")
        if parameter.kind is parameter.VAR_KEYWORD:
            raise unusable(owner, fn, parameter.name, f"`**{parameter.name}` has no fixed names: take a dict")
    if parameters and parameters[0].name in ("self", "cls"):
        reason = "methods cannot be used, the object they belong to would be lost: move it out of the class"
        raise unusable(owner, fn, parameters[0].name, reason)
    for parameter in parameters[skip:]:
        if parameter.annotation is parameter.empty:
            reason = f"it has no annotation: write `{parameter.name}: <type>` (aiki.Json for anything that is JSON)"
            raise unusable(owner, fn, parameter.name, reason)
    if signature.return_annotation is signature.empty:
        raise unusable(owner, fn, "return", "the result has no annotation: write `-> <type>` (or `-> None`)")


def unusable(owner: str, fn: Callable[..., Any], name: str, reason: str) -> UsageError:
    """Return the error for one parameter of `fn`, or for `return`, its result."""
    what = "its result" if name == "return" else f"parameter `{name}`"
    return UsageError(f"{owner}: {what} of {place(fn)} cannot be used: {reason}")


def undefined(owner: str, fn: Callable[..., Any], name: str) -> UsageError:
    """Return the error for an annotation that names `name`, which is not defined at run time."""
    if name in _type_checking_imports(fn):
        reason = (
            f"`{name}` is imported only under `if TYPE_CHECKING:`, but Aiki needs the type at run time: "
            "move its import out of that block"
        )
    else:
        reason = f"`{name}` is not defined at the top level of its module"
    return UsageError(f"{owner}: the annotations of {place(fn)} cannot be read: {reason}")


def _hints(fn: Callable[..., Any], names: dict[str, Any] | None) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        # Annotations that are no text are evaluated now, and without our names: what they lack is asked for here.
        found = get_type_hints(fn, localns=names, include_extras=True, format=Format.FORWARDREF)
        for reference in _references(found.values()):
            reference.evaluate(locals=names)
        return found
    return get_type_hints(fn, localns=names, include_extras=True)


def _references(annotations: Iterable[Any]) -> Iterator[ForwardRef]:
    for annotation in annotations:
        if isinstance(annotation, ForwardRef):
            yield annotation
        yield from _references(get_args(annotation))


def _refuse_type_variables(annotation: Any) -> None:
    if isinstance(annotation, (TypeVar, ParamSpec, TypeVarTuple)):
        raise Refused(f"the type variable {annotation} could be any type: write the type")
    for argument in get_args(annotation):
        _refuse_type_variables(argument)


def _reworded(annotation: Any, message: str) -> str:
    if "Type unions may not contain more than one" in message:
        union = message.rpartition(" - type ")[2].partition(" is not")[0]
        objects = "dict-like" in message or "dataclass" in message
        remedy = "make them msgspec.Struct classes with tag=True" if objects else "wrap each in a dataclass of its own"
        return f"{union} holds types that look the same in JSON: choose one of them, or {remedy}"
    if "Enums must contain" in message or "Integer values >" in message:
        return f"{annotation}: an enum's values must be all text, or all whole numbers below 2**63, to be told in JSON"
    if "InitVar" in message:
        return f"{annotation}: it is made of its fields alone when it is read: make its `InitVar` a plain field"
    if "custom type" in message:
        return f"{annotation} mixes a pydantic model with other types: only `Model | None` can be told apart"
    return message


def _type_checking_imports(fn: Callable[..., Any]) -> set[str]:
    """Return the names that the module of `fn` imports under `if TYPE_CHECKING:`."""
    module = sys.modules.get(fn.__module__)
    try:
        source = Path(str(getattr(module, "__file__", ""))).read_bytes()
        blocks = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.If)]
    except (OSError, SyntaxError, ValueError):
        return set()
    return {
        alias.asname or alias.name.partition(".")[0]
        for block in blocks
        if "TYPE_CHECKING" in ast.dump(block.test)
        for statement in block.body
        if isinstance(statement, (ast.Import, ast.ImportFrom))
        for alias in statement.names
    }
