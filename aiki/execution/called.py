"""Own what is put on record of what calls were made with: for people alone, and no replay reads it.

It is the canonical form that the key of a call is made from, so nothing is encoded for it: defaults are left out. What
is whole stands as JSON, what is not as a text, which is its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from aiki.wire.codec import encode
from aiki.wire.limits import PREVIEW_BYTES
from aiki.wire.messages import NULL
from aiki.wire.packing import fits_beside

if TYPE_CHECKING:
    from aiki.definitions.arguments import RecordArguments

CUT: Final = "…"
"""What a text ends with that is only the beginning."""


class Called:
    """How much one run puts on record of its calls."""

    __slots__ = ("_record", "_room")

    def __init__(self, record: RecordArguments, room: Callable[[], int]) -> None:
        """`record` is what its workflow says; `room` the bytes of a message."""
        self._record = record
        self._room = room

    def of(self, form: bytes, beside: int, record: RecordArguments | None = None) -> Raw:
        """Return what is recorded of a call with an outcome of `beside` bytes; `record` is what its task says.

        What does not fit a message with that is cut.
        """
        record = record or self._record
        if record == "none":
            return NULL
        if len(form) <= PREVIEW_BYTES or (record == "full" and fits_beside(len(form), beside, room=self._room())):
            return Raw(form)
        return preview(form)

    def of_input(self, form: bytes) -> Raw:
        """Return what is recorded of the start of a child: all of its input stands with the child."""
        return NULL if self._record == "none" else preview(form)

    def of_inputs(self, forms: Iterable[bytes]) -> Raw:
        """Return what is recorded of children that are started as one: of several a list."""
        if self._record == "none":
            return NULL
        told: list[bytes] = []
        length = 0
        for form in forms:
            told.append(form[: PREVIEW_BYTES + 1])
            length += len(form) + 1
            if length > PREVIEW_BYTES:
                break
        return preview(told[0] if len(told) == 1 else b"[" + b",".join(told) + b"]")


def preview(form: bytes) -> Raw:
    """Return a form that is short, or a text that is its beginning, up to a whole character."""
    if len(form) <= PREVIEW_BYTES:
        return Raw(form)
    return Raw(encode(form[:PREVIEW_BYTES].decode(errors="ignore") + CUT))
