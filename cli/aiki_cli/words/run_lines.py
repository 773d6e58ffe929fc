"""Own runs as they are read from a file, or from stdin: one a line, as a word, or as what a command of ours printed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from aiki import PayloadError
from aiki.core.encoding import NotUtf8, decoded_lines
from aiki_cli.failures import UnreadableInput
from aiki_cli.words.inputs import remedy, stdin
from aiki_cli.words.payload import parse_object
from aiki_cli.words.references import is_reference

_NAMES: Final = ("run_id", "id")
"""What a run's id is called where we print JSON."""
_SHOWN_CHARS: Final = 80


def read_runs(source: str, say: Callable[[str], None]) -> list[str]:
    """Return the runs that stand in `source` (a file, or `-` for stdin), each once: ids, or workflow@key.

    A line holds one in its first cell, or as JSON of `enqueue`; a row that was refused there has none, which is said.
    Raises UnreadableInput, and PayloadError with its number for a line that names no run.
    """
    runs: dict[str, None] = {}
    refused = 0
    try:
        with nullcontext(stdin()) if source == "-" else Path(source).open("rb") as stream:
            for number, line in enumerate(decoded_lines(stream), 1):
                if not line.strip():
                    continue
                run = _run_in(line.strip(), f"{source}, line {number}")
                if run is None:
                    refused += 1
                else:
                    runs[run] = None
    except OSError as error:
        raise UnreadableInput(f"cannot read {source} ({error.strerror or error})") from error
    except NotUtf8 as error:
        raise PayloadError(f"{source}, line {error.line}: {error.reason}", hint=remedy(error, source)) from error
    if refused:
        what = "row of {} was" if refused == 1 else "rows of {} were"
        say(f"{refused:,} {what.format(source)} refused when enqueued, so there is no run to wait for")
    return list(runs)


def _run_in(line: str, place: str) -> str | None:
    """Return the run of a line; None for a row that was refused. Raises PayloadError."""
    if not line.startswith("{"):
        word = line.split("\t", 1)[0].strip()
        if not is_reference(word):
            raise PayloadError(
                f"{place}: {_shortened(line)!r} names no run, and expected an id or workflow@key",
                hint="aiki enqueue WORKFLOW --from FILE -o ids | aiki wait --from -",
            )
        return word
    row = parse_object(line, place)
    run = next((row[name] for name in _NAMES if row.get(name) is not None), None)
    if run is None and row.get("error"):
        return None
    if not isinstance(run, str) or not is_reference(run):
        raise PayloadError(f"{place}: {_shortened(line)!r} names no run, and expected its id as `id`")
    return run


def _shortened(line: str) -> str:
    return line if len(line) <= _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]}..."
