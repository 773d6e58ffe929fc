"""Own how the schemas of what commands say are shown: by the file, so that none of their classes is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiki import UsageError
from aiki.core.near import nearest
from aiki_cli.view.documents.outputs import OutputNames, Outputs
from aiki_cli.view.found import Line, Rows, Text
from aiki_cli.view.text import to_json

if TYPE_CHECKING:
    from rich.console import RenderableType

FILE: Final = Path(__file__).with_name("schemas.json")
_REFERENCE: Final = "#/$defs/"


def outputs() -> Rows:
    """Return what there are schemas of, a line each: the command, and the classes of its documents and lines."""
    found = [OutputNames(name, _titles(modes["json"]), _titles(modes["jsonl"])) for name, modes in _outputs()]
    return Rows(
        [Line(one, [one.command, ",".join(one.document), ",".join(one.line)], one.command) for one in found],
        page=lambda: [_table(found)],
        document=lambda _: Outputs(found),
        asides=["the schema of one: aiki help json run list; of its lines: with -o jsonl"],
    )


def schema(command: str, *, is_line: bool) -> Text:
    """Return the schema of what a command says as JSON, or of a line. Raises UsageError if there is none."""
    every = dict(_outputs())
    if command not in every:
        meant = nearest(command, every)
        raise UsageError(
            f"there is no schema of {command!r}{f': did you mean {meant}?' if meant else ''}",
            hint=f"aiki help json {meant}" if meant else "aiki help json",
        )
    return Text(to_json(whole(every[command]["jsonl" if is_line else "json"]), indent=2))


def whole(asked: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with all that it refers to."""
    known, found, to_look = _file()["$defs"], dict[str, Any](), list(_references(asked))
    while to_look:
        name = to_look.pop()
        if name not in found:
            found[name] = known[name]
            to_look += _references(known[name])
    return {**asked, "$defs": dict(sorted(found.items()))}


def _file() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def _outputs() -> list[tuple[str, dict[str, Any]]]:
    return list(_file()["outputs"].items())


def _titles(schema: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(_references(schema)))


def _references(schema: object) -> Iterator[str]:
    """Yield the classes that a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(name := schema.get("$ref"), str):
            yield name.removeprefix(_REFERENCE)
        for one in schema.values():
            yield from _references(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)


def _table(found: Sequence[OutputNames]) -> RenderableType:
    from aiki_cli.view.drawing import columns

    shown = [[one.command, f"{', '.join(one.document)}; lines: {', '.join(one.line)}"] for one in found]
    return columns(shown, ["COMMAND", "SAYS"])
