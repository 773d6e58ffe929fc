"""Own which loop closes an async generator that is dropped: that of the body which began it, and no other.

Python asks two hooks of the thread, which the loop around sets while it runs, and keeps one of them in a generator from
its first step on. To change them for each step of a body would cost a tenth of what a run costs, since each change is
told to audit hooks, ours among them (`audit`). So hooks of ours are put before those of the loop around, once, and find
out who has begun what.

Python does not say when a generator ends. So one is known by its address, until another is begun there: what runs on
this thread passes by these hooks, in a body or not.
"""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from typing import Any, Final, Protocol
from weakref import ref


class Closing(Protocol):
    """The loop of a body."""

    def close_generator(self, generator: Any) -> None:
        """Close what the body has begun and dropped."""
        ...


_begun: Final[dict[int, ref[Closing]]] = {}
"""By whom generators were begun, by their addresses; with no hold on a run, which may have left memory since."""


def watch() -> None:
    """Put our hooks before those of the loop that runs, unless they are there."""
    hooks = sys.get_asyncgen_hooks()
    if type(hooks.finalizer) is not _Hooks:
        ours = _Hooks(hooks)
        sys.set_asyncgen_hooks(ours.begun, ours)


class _Hooks:
    """Those of one loop, and ours before them."""

    __slots__ = ("_theirs",)

    def __init__(self, theirs: Any) -> None:
        self._theirs = theirs

    def begun(self, generator: Any) -> None:
        """Take in that a generator takes its first step."""
        loop: Any = _get_running_loop()
        if hasattr(loop, "close_generator"):
            _begun[id(generator)] = ref(loop)
            return
        if _begun:
            _begun.pop(id(generator), None)
        if self._theirs.firstiter is not None:
            self._theirs.firstiter(generator)

    def __call__(self, generator: Any) -> None:
        """Have a generator closed that was dropped before its end."""
        known = _begun.pop(id(generator), None)
        if known is None:
            if self._theirs.finalizer is not None:
                self._theirs.finalizer(generator)
        elif (loop := known()) is not None:
            loop.close_generator(generator)
