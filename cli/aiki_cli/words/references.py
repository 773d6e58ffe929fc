"""Own how RUN on the command line becomes an id."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aiki_cli.words import last

if TYPE_CHECKING:
    from aiki import Client

_WHOLE_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_reference(word: str) -> bool:
    """Tell whether a word can be nothing but a run: a whole id, workflow@key, or `@last`."""
    return "@" in word or _WHOLE_ID.fullmatch(word) is not None


async def find_all(client: Client, references: Sequence[str]) -> list[str]:
    """Return the id of each reference, in order; only those that are no whole id are looked up.

    Raises NotFound, or UsageError if several runs match one.
    """
    known = {last.WORD: last.last_run(client)} if last.WORD in references else {}
    short = {one for one in references if one not in known and not _WHOLE_ID.fullmatch(one)}
    known |= zip(short, await asyncio.gather(*(client.runs.find(one) for one in short)), strict=True)
    return [known.get(reference, reference.lower()) for reference in references]
