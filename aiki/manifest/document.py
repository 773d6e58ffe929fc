"""Own how manifest text becomes nodes that know where they stand.

Only maps, lists and scalars are read: no tags, anchors, aliases or merge keys, no second document, no duplicate
keys. Scalars stay text until a field asks for another type, so YAML 1.1's surprises (`NO`, `on`, `1.10`, `12:30`)
cannot happen. It must never build a Python object that the text names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from aiki.core.addresses import hide
from aiki.core.encoding import NotUtf8, decode
from aiki.core.errors import ConfigError
from aiki.manifest.discovery import MANIFEST_BYTES

NESTING: Final = 32
_PLAIN_TAGS: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq")}


@dataclass(frozen=True)
class Place:
    """A position in a file; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def refuse(self, what: str, *, hint: str | None = None) -> NoReturn:
        """Raise ConfigError with `file:line:column: what`."""
        raise ConfigError(f"{self}: {what}", hint=hint)


@dataclass(frozen=True)
class Scalar:
    """Text as it stands in the file; `quoted` tells `"1"` from `1`."""

    place: Place
    text: str
    quoted: bool

    def __str__(self) -> str:
        # Cut only then: half an address would not be known for one.
        clear = hide(self.text)
        shown = clear if len(clear) <= 40 else clear[:37] + "..."
        return repr(shown) if self.quoted else f"`{shown}`" if shown else "nothing"


@dataclass(frozen=True)
class Items:
    """A list."""

    place: Place
    items: tuple[Node, ...]

    def __str__(self) -> str:
        return "a list"


@dataclass(frozen=True)
class Mapping:
    """A map; its keys are unique."""

    place: Place
    entries: tuple[tuple[Scalar, Node], ...]

    def __str__(self) -> str:
        return "a map"


Node = Scalar | Items | Mapping


def read_document(raw: bytes, file: Path, *, what: str = "the manifest") -> Mapping:
    """Return the one document in `raw`; `file` is only named in errors, and `what` it is.

    Raises ConfigError for everything that is not plain YAML with a map at its top.
    """
    start = Place(file, 1, 1)
    if len(raw) > MANIFEST_BYTES:
        start.refuse(f"{what} is too long, and expected at most {MANIFEST_BYTES:,} bytes")
    try:
        text = decode(raw)
    except NotUtf8 as error:
        Place(file, error.line, 1).refuse(error.reason, hint=error.remedy(file))
    root = _compose(text, file)
    if root is None:
        start.refuse(f"{what} is empty, and expected `aiki: 1` as its first line")
    node = _Converter(file).convert(root)
    if not isinstance(node, Mapping):
        node.place.refuse(f"{what} is {node}, and expected a map such as `aiki: 1`")
    return node


def _compose(text: str, file: Path) -> yaml.Node | None:
    loader = None
    try:
        loader = _Loader(text, file)
        root: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(file, mark)
        place.refuse(f"not valid YAML: {error.problem or error.context}", hint=_quoting_hint(text, place.line))
    except yaml.YAMLError as error:
        Place(file, 1, 1).refuse(f"not valid YAML: {' '.join(str(error).split())}")
    finally:
        if loader is not None:
            loader.dispose()
    return root


def _quoting_hint(text: str, line: int) -> str | None:
    """Return how to write the line's value in quotes, where quotes are what it lacks: `cron: * * * * *`."""
    lines = text.splitlines()
    # The parser may only notice on a later line.
    for candidate in lines[max(line - 2, 0) : line]:
        key, colon, value = candidate.partition(": ")
        if colon and value[:1] in {"*", "&", "%", "@", "`", "!"}:
            return f'{key.strip()}: "{value.strip()}"'
    return None


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner, parser and composer; nothing is ever constructed from its nodes."""

    yaml_implicit_resolvers: dict[str, list[object]] = {}  # every scalar stays text

    def __init__(self, text: str, file: Path) -> None:
        super().__init__(text)
        self._file = file
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs lack it
        place = _place(self._file, event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            place.refuse(
                f"{sign}{event.anchor} is an alias or anchor, and expected the value itself (in quotes, if it is text)"
            )
        self._depth += 1
        if self._depth > NESTING:
            place.refuse(f"nested deeper than {NESTING} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Converter:
    def __init__(self, file: Path) -> None:
        self._file = file

    def convert(self, node: yaml.Node) -> Node:
        place = _place(self._file, node.start_mark)
        if node.tag not in _PLAIN_TAGS:
            place.refuse(f"the tag {node.tag.removeprefix('tag:yaml.org,2002:')!r}, and expected no tags")
        if isinstance(node, yaml.ScalarNode):
            return Scalar(place, node.value, quoted=node.style is not None)
        if isinstance(node, yaml.SequenceNode):
            return Items(place, tuple(self.convert(item) for item in node.value))
        return Mapping(place, tuple(self._entries(node)))

    def _entries(self, node: yaml.Node) -> list[tuple[Scalar, Node]]:
        entries: dict[str, tuple[Scalar, Node]] = {}
        for key_node, value_node in node.value:
            key = self.convert(key_node)
            if not isinstance(key, Scalar):
                key.place.refuse(f"{key} as a key, and expected text")
            if key.text in entries:
                first = entries[key.text][0].place.line
                key.place.refuse(f"the key {key} stands on line {first} already, and expected it once")
            entries[key.text] = (key, self.convert(value_node))
        return list(entries.values())


def _place(file: Path, mark: yaml.Mark | None) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
