"""Own how much is put on record of what calls are made with, for people who read a run's history."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, get_args

from aiki.core.errors import UsageError

RecordArguments: TypeAlias = Literal["none", "preview", "full"]
"""Nothing, the first 256 bytes of their JSON, or all."""
RECORD_ARGUMENTS: Final[tuple[RecordArguments, ...]] = get_args(RecordArguments)


def checked_record(record: Any) -> RecordArguments:
    """Return how much is put on record. Raises UsageError if it is none of the ways."""
    for way in RECORD_ARGUMENTS:
        if record == way:
            return way
    raise UsageError(f'record_arguments={record!r}: it must be "none", "preview" or "full"')
