"""Own whether code stands in a `finally`. No frame says so: it is told from the source, where that can be read."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FrameType
from typing import Final, TypeAlias

from aiki.core.frames import is_users, line_of

_Lines: TypeAlias = tuple[int, int]
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def line_in_finally(frame: FrameType | None, *, outermost: CodeType) -> str | None:
    """Return the innermost line of the user's in a `finally`, from `frame` outward up to `outermost`, if any is."""
    while frame is not None and frame.f_code is not outermost:
        code, line = frame.f_code, frame.f_lineno
        if is_users(code.co_filename) and any(first <= line <= last for first, last in _finals(code)):
            return line_of(frame)
        frame = frame.f_back
    return None


@lru_cache(maxsize=256)
def _finals(code: CodeType) -> tuple[_Lines, ...]:
    """Return the first and last line of each `finally` in the function of this code, without functions inside it."""
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(lines for node in ast.walk(tree) if _is_of(node, code) for lines in _within(node))


def _is_of(node: ast.AST, code: CodeType) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != code.co_name:
        return False
    return code.co_firstlineno == min(part.lineno for part in (node, *node.decorator_list))


def _within(node: ast.AST) -> Iterator[_Lines]:
    if isinstance(node, ast.Try | ast.TryStar) and node.finalbody:
        last = node.finalbody[-1]
        yield node.finalbody[0].lineno, last.end_lineno or last.lineno
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _FUNCTIONS):
            yield from _within(child)
