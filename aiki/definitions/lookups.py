"""Own what the names in a function's bytecode stand for, as far as that can be told without running it.

Globals have values, and so has what a closure holds and what the function imports itself; parameters and other locals
have none. Only modules and the classes of dates are looked into (`time.time`, `datetime.now`): it must never run code
of users, nor import what nobody has.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import date
from itertools import islice, zip_longest
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

UNKNOWN: Final = object()
HELPERS: Final = 50
"""Functions of its module that are looked through for one function."""
_SILENT: Final = {"CACHE", "EXTENDED_ARG", "NOP", "NOT_TAKEN", "PRECALL", "PUSH_NULL"}
"""Instructions that leave a name alone on its way to what is done with it."""
_MOVES: Final = {"SWAP", "POP_TOP"}
"""What stands between an import and the name that it is given: `import a.b as c`."""
_IMPORT: Final = dis.opmap["IMPORT_NAME"]
_LOADS: Final = ("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
_STORES_THEN_LOADS: Final = "STORE_FAST_LOAD_FAST"


class Lookup(NamedTuple):
    """A value that a function looks up."""

    line: int
    value: Any
    is_called_bare: bool
    """Whether it is called at once, without arguments."""


Worth = Callable[[Any], bool]
"""Tells whether it is worth to look where a value is used: each instruction costs ten times what a name does."""


def looked_through(fn: Callable[..., Any], worth: Worth) -> Iterator[tuple[FunctionType, list[Lookup]]]:
    """Yield the function with what it looks up, then so each plain function of its module that it looks up itself."""
    body = inspect.unwrap(fn)
    if not isinstance(body, FunctionType):
        return
    found = list(lookups(body, worth))
    yield body, found
    helpers = {one.value: None for one in found if _is_of(body.__globals__, one.value) and one.value is not body}
    yield from ((helper, list(lookups(helper, worth))) for helper in islice(helpers, HELPERS))


def lookups(fn: FunctionType, worth: Worth) -> Iterator[Lookup]:
    """Yield what the function looks up, and what functions, lambdas and comprehensions inside of it do.

    A part of it that names nothing of `worth`, no function of its module, and imports nothing, is passed over.
    """
    closure = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
    return _of_code(fn.__code__, fn.__globals__, {name: _content(cell) for name, cell in closure}, worth)


def is_a(kind: type | tuple[type, ...], value: Any) -> bool:
    """Tell whether the value is of a class, without asking the value: a proxy would have to find what it stands for."""
    return issubclass(type(value), kind)


def _of_code(code: CodeType, names: Mapping[str, Any], outer: Mapping[str, Any], worth: Worth) -> Iterator[Lookup]:
    known = {name: outer.get(name, UNKNOWN) for name in code.co_freevars}
    if _is_worth_it(code, names, known, worth):
        shared = {*code.co_cellvars, *code.co_freevars}
        instructions = [one for one in dis.get_instructions(code) if not _is_silent(one, shared)]
        known |= _bound(code, instructions)
        yield from _of_instructions(code, instructions, names, known)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _of_code(inner, names, known, worth)


def _is_worth_it(code: CodeType, names: Mapping[str, Any], known: Mapping[str, Any], worth: Worth) -> bool:
    if _IMPORT in code.co_code[::2]:
        return True
    used = [*(names[name] for name in code.co_names if name in names), *known.values()]
    inside = [vars(one).get(name) for one in used if is_a(ModuleType, one) for name in code.co_names]
    return any(worth(value) or _is_of(names, value) for value in used) or any(
        worth(value) or is_a(ModuleType, value) for value in inside
    )


def _is_silent(one: dis.Instruction, shared: Set[str]) -> bool:
    """Tell whether an instruction says nothing of what is used: so does one that hands a cell to a function inside."""
    return one.opname in _SILENT or (one.opname.startswith("LOAD_FAST") and _names(one)[-1] in shared)


def _is_of(module: Mapping[str, Any], value: Any) -> bool:
    """Tell whether the value is a plain function of the module that has these names."""
    return is_a(FunctionType, value) and value.__globals__ is module


def _of_instructions(
    code: CodeType, instructions: Sequence[dis.Instruction], names: Mapping[str, Any], known: Mapping[str, Any]
) -> Iterator[Lookup]:
    on_top = UNKNOWN
    for one, after in zip_longest(instructions, instructions[1:]):
        found = list(_values(one, on_top, names, known))
        on_top = found[-1]
        line = one.positions.lineno if one.positions else None
        is_called_bare = after is not None and after.opname == "CALL" and after.arg == 0
        for value in found:
            if value is not UNKNOWN:
                yield Lookup(line or code.co_firstlineno, value, is_called_bare)


def _values(one: dis.Instruction, before: Any, names: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values that an instruction looks up, `before` being what lies on top; the last is on top then."""
    if one.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
        yield _member(before, one.argval)
    elif one.opname in {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}:
        yield names[one.argval] if one.argval in names else vars(builtins).get(one.argval, UNKNOWN)
    elif loaded := _loaded(one):
        yield from (known.get(name, UNKNOWN) for name in loaded)
    else:
        yield UNKNOWN


def _member(owner: Any, name: str) -> Any:
    if is_a(ModuleType, owner):
        return vars(owner).get(name, UNKNOWN)
    return getattr(owner, name, UNKNOWN) if is_a(type, owner) and issubclass(owner, date) else UNKNOWN


def _bound(code: CodeType, instructions: Sequence[dis.Instruction]) -> dict[str, Any]:
    """Return the names that the code binds: those that it only imports with what they stand for."""
    parameters = code.co_argcount + code.co_kwonlyargcount
    found: dict[str, Any] = dict.fromkeys(code.co_varnames[:parameters], UNKNOWN)
    base = made = UNKNOWN
    for place, one in enumerate(instructions):
        if one.opname == "IMPORT_NAME":
            base = made = _module(one.argval, *(before.argval for before in instructions[place - 2 : place]))
        elif one.opname == "IMPORT_FROM":
            made = _member(base, one.argval)
        else:
            for name in _stored(one):
                found[name] = made if found.get(name, made) is made else UNKNOWN
            made = made if one.opname in _MOVES else UNKNOWN
    return found


def _module(name: str, level: int, members: Sequence[str] | None) -> Any:
    """Return what an import finds, if it is not relative: the outermost package, unless members of it are taken."""
    return UNKNOWN if level else sys.modules.get(name if members else name.partition(".")[0], UNKNOWN)


def _loaded(one: dis.Instruction) -> Sequence[str]:
    if one.opname == _STORES_THEN_LOADS:
        return one.argval[1:]  # type: ignore[no-any-return]
    return _names(one) if one.opname.startswith(_LOADS) else ()


def _stored(one: dis.Instruction) -> Sequence[str]:
    if one.opname == _STORES_THEN_LOADS:
        return one.argval[:1]  # type: ignore[no-any-return]
    return _names(one) if one.opname.startswith(("STORE_FAST", "STORE_DEREF")) else ()


def _names(one: dis.Instruction) -> Sequence[str]:
    return one.argval if isinstance(one.argval, tuple) else (one.argval,)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is not bound yet
        return UNKNOWN
