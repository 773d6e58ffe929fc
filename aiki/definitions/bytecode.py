"""Own what a function's compiled code says, whatever its file, its lines and its docstring are.

Compilers keep instructions that do nothing where a line has nothing else, join some that stand on one line, number
constants by where they stand, and begin with the docstring: so what is returned has the instructions that do something,
one by one, each with the constant itself, and jumps by the instruction that they lead to. A condition of several lines
may still be compiled otherwise than one on a line of its own.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType
from typing import Any, Final, TypeAlias

Form: TypeAlias = tuple[Any, ...]
"""Texts, numbers and forms, whose `repr` is the same in every process."""

_FLAGS: Final = CO_VARARGS | CO_VARKEYWORDS | CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_CACHE: Final = dis.opmap.get("CACHE", 0)
_PLAIN_TYPES: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_BACKWARD: Final = frozenset(op for op in dis.hasjrel if "BACKWARD" in dis.opname[op])
_PLAIN, _SKIPPED, _HIGH, _CONSTANT, _JUMP, _GLOBAL, _NAME, _PAIR = range(8)
_PAIRS: Final = {
    op: (dis.opmap[parts[1]], dis.opmap[parts[2]])
    for name, op in dis.opmap.items()
    if (parts := re.fullmatch(r"((?:LOAD|STORE)_FAST(?:_BORROW)?)_((?:LOAD|STORE)_FAST(?:_BORROW)?)", name))
}
"""Two instructions in one, which compilers make of those that stand on one line: 4 bits of the operand are each's."""
_KINDS: Final = (
    dict.fromkeys(range(256), _PLAIN)
    | dict.fromkeys(dis.hasconst, _CONSTANT)
    | dict.fromkeys(dis.hasjrel, _JUMP)
    | dict.fromkeys(_PAIRS, _PAIR)
    | {_CACHE: _SKIPPED, dis.opmap["NOP"]: _SKIPPED, dis.EXTENDED_ARG: _HIGH}
    | {dis.opmap["LOAD_GLOBAL"]: _GLOBAL, dis.opmap["LOAD_NAME"]: _NAME}
)


def read(code: CodeType, names: dict[str, None]) -> Form:
    """Return what the code says, with all that is nested in it, and add to `names` which globals it looks up.

    A local variable's name says nothing, a parameter's does.
    """
    raw = code.co_code
    kinds = _KINDS
    found: list[int] = []
    constants: list[Form] = []
    places: list[int] = []  # of each unit of the code: where what it says stands in what was found
    jumps: list[tuple[int, int]] = []
    high = 0
    for op, operand in zip(raw[::2], raw[1::2], strict=True):
        places.append(len(found))
        kind = kinds[op]
        if kind == _SKIPPED:
            continue
        operand |= high
        if kind == _HIGH:
            high = operand << 8
            continue
        high = 0
        if kind == _CONSTANT:
            constants.append(constant(code.co_consts[operand], names))
            operand = 0
        elif kind == _JUMP:
            jumps.append((len(found), len(places)))
        elif kind == _GLOBAL:
            names[code.co_names[operand >> 1]] = None
        elif kind == _NAME:
            names[code.co_names[operand]] = None
        elif kind == _PAIR:
            first, second = _PAIRS[op]
            found += (first, operand >> 4)
            op, operand = second, operand & 15
        found += (op, operand)
    places.append(len(found))
    for place, unit in jumps:
        found[place + 1] = places[_target(raw, unit, *found[place : place + 2])]
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS)
    guarded = tuple(_guarded(code, places))
    return (shape, code.co_varnames[:count], code.co_names, tuple(found), tuple(constants), guarded)


def constant(value: Any, names: dict[str, None]) -> Form:
    """Return what a constant of some code says; what is no constant is known by its type alone."""
    kind = type(value)
    if kind in _PLAIN_TYPES:
        return (kind.__name__, repr(value))
    if kind is CodeType:
        return ("code", read(value, names))
    if kind is tuple:
        return ("tuple", *(constant(each, names) for each in value))
    if kind is frozenset:
        return ("frozenset", *sorted((constant(each, names) for each in value), key=repr))
    if kind is slice:
        return ("slice", *(constant(each, names) for each in (value.start, value.stop, value.step)))
    return (kind.__name__,)


def _target(raw: bytes, after: int, op: int, distance: int) -> int:
    """Return the unit that a jump leads to; it is counted from behind the jump and its caches."""
    while 2 * after < len(raw) and raw[2 * after] == _CACHE:
        after += 1
    return after - distance if op in _BACKWARD else after + distance


def _guarded(code: CodeType, places: list[int]) -> Iterator[Form]:
    """Yield which instructions an exception leaves for which: the table's numbers are of 6 bits a byte, highest first.

    Its form is that of CPython's Objects/exception_handling_notes.txt.
    """
    numbers = list(_numbers(code.co_exceptiontable))
    for start, length, target, depth in zip(*(numbers[place::4] for place in range(4)), strict=True):
        if places[start] < places[start + length]:
            yield (places[start], places[start + length], places[target], depth)


def _numbers(table: bytes) -> Iterator[int]:
    number = 0
    for byte in table:
        number = number << 6 | byte & 0x3F
        if not byte & 0x40:
            yield number
            number = 0
