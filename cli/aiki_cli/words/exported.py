"""Own the reading of files of exported runs that the command line names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import IO, TYPE_CHECKING

from aiki_cli.failures import UnreadableInput
from aiki_cli.words.inputs import stdin

if TYPE_CHECKING:
    from contextlib import ExitStack

    from aiki.replay import Recording


def recordings_of(opened: ExitStack, names: Sequence[str]) -> AsyncGenerator[Recording, None]:
    """Return the runs of all files, which are opened now, and closed with `opened`; `-` is stdin.

    Raises UnreadableInput.
    """
    streams = [(_open(opened, name), "stdin" if name == "-" else name) for name in names]
    return _read(streams)


async def _read(streams: Sequence[tuple[IO[bytes], str]]) -> AsyncGenerator[Recording, None]:
    """Yield the runs, file by file. Raises PayloadError, which names the line."""
    from aiki.replay.files import Reader

    for stream, name in streams:
        for recording in Reader(stream, name):
            yield recording


def _open(opened: ExitStack, name: str) -> IO[bytes]:
    if name == "-":
        return stdin()
    try:
        return opened.enter_context(open(name, "rb"))  # noqa: PTH123 - a name as it was typed
    except OSError as error:
        raise UnreadableInput(f"cannot read {name} ({error.strerror})") from error
