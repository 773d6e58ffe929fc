"""Own the members of a payload as words of the command line: `name=`, `times:=`, `order.id=`, from its JSON Schema.

The schema is a stranger's: it is walked no deeper and no further than anybody types, and nothing of it is trusted.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

MOST: Final = 200
_DEPTH: Final = 4
_DEFINITIONS: Final = "#/$defs/"

Word = tuple[str, str]
"""What is typed, up to its value, and what that is."""


def words(schema: object) -> list[Word]:
    """Return a word for each member of the payload; one that is an object has a word for each of its own members."""
    return list(islice(_members(_referred(schema, schema), schema, "", _DEPTH), MOST))


def _members(schema: object, root: object, before: str, depth: int) -> Iterator[Word]:
    required = _list(schema, "required")
    for name, member in islice(_table(schema, "properties").items(), MOST):
        forms = _forms(member, root)
        inner = next((form for form in forms if _table(form, "properties")), None)
        if inner is not None and depth > 1:
            yield from _members(inner, root, f"{before}{name}.", depth - 1)
            continue
        kinds = list(dict.fromkeys(kind for form in forms for kind in _kinds(form)))
        sign = "=" if not kinds or "string" in kinds else ":="
        need = "required" if name in required else "optional"
        yield f"{before}{name}{sign}", f"{' or '.join(kinds) or 'anything'}, {need}"


def _forms(schema: object, root: object) -> list[object]:
    """Return the schema behind a reference, or those of which a value fits one; no further than that."""
    form = _referred(schema, root)
    return [_referred(option, root) for option in _list(form, "anyOf")[:MOST]] or [form]


def _referred(schema: object, root: object) -> object:
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    if not isinstance(reference, str) or not reference.startswith(_DEFINITIONS):
        return schema
    return _table(root, "$defs").get(reference.removeprefix(_DEFINITIONS))


def _kinds(form: object) -> list[str]:
    """Return the types that a value may have, as far as a schema says it."""
    kind = form.get("type") if isinstance(form, Mapping) else None
    if isinstance(kind, str):
        return [kind]
    constants = ["string" if isinstance(one, str) else "constant" for one in _list(form, "enum")[:1]]
    return [one for one in _list(form, "type") if isinstance(one, str)] or constants


def _table(schema: object, name: str) -> Mapping[str, Any]:
    found = schema.get(name) if isinstance(schema, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _list(schema: object, name: str) -> list[Any]:
    found = schema.get(name) if isinstance(schema, Mapping) else None
    return found if isinstance(found, list) else []
