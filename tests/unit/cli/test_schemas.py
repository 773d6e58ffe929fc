"""The JSON of commands is what their classes say, and what the file of schemas says: a change of it is a decision."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from aiki import RunStatus, State, UsageError
from aiki.wire.messages import Failure
from aiki_cli.view import plain, schemas
from aiki_cli.view.json_schema import schema_of
from aiki_cli.view.text import to_json

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_file_has_the_schemas_that_follow_from_the_classes():
    assert schemas.FILE.read_text() == schemas.text(), "python -m aiki_cli.view.schemas"


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_each_schema_is_one(mode):
    for name, modes in schemas.schemas().items():
        fastjsonschema.compile(modes[mode])
        assert modes[mode]["title"].endswith(f"{name} -o {mode}")


def test_a_class_of_the_sdk_is_what_it_is_but_for_what_is_said():
    run = RunStatus(
        run_id="r-1",
        origin_id="r-1",
        workflow="order",
        version="1",
        state=State.FAILED,
        attempt=1,
        claims=1,
        created_at=AT,
        error=Failure("ValueError", "no"),
    )
    value = json.loads(to_json(run))
    assert "is_explained" not in value
    assert "run_id" not in value
    assert (value["id"], value["created_at"], value["started_at"]) == ("r-1", "2026-01-02T03:04:05.000000Z", None)
    assert value["error"] == {
        "type": "ValueError",
        "message": "no",
        "traceback": None,
        "cause": None,
        "task": None,
        "attempts": None,
    }


@dataclass(frozen=True)
class Thing:
    """A thing."""

    name: str
    """What it is called."""
    took: timedelta
    inner: Thing | None
    places: dict[str, tuple[int, ...]]
    error: UsageError | None = None


def test_a_schema_says_of_each_member_what_its_class_says():
    schema = schema_of([Thing], title="things")
    of = schema["$defs"]["Thing"]
    assert (of["description"], of["properties"]["name"]) == (
        "A thing.",
        {"type": "string", "description": "What it is called."},
    )
    assert of["required"] == ["name", "took", "inner", "places", "error"]
    thing = Thing("a", timedelta(minutes=1), Thing("b", timedelta(), None, {}), {"x": (1, 2)}, UsageError("no"))
    value = json.loads(to_json(thing))
    assert (value["took"], value["error"]) == (60, {"code": "usage", "message": "no"})
    fastjsonschema.compile(schema)(value)
    with pytest.raises(fastjsonschema.JsonSchemaException):
        fastjsonschema.compile(schema)({**value, "took": "1m"})


def test_what_has_no_place_in_json_is_refused():
    with pytest.raises(TypeError, match="no place in JSON"):
        to_json(object())
    with pytest.raises(TypeError, match="no place in JSON"):
        schema_of([complex], title="numbers")


def test_each_spelling_is_of_one_class_and_of_members_that_it_has():
    found: dict[str, set[type[Any]]] = {}
    for output in schemas.OUTPUTS.values():
        for one in (*output.documents, *output.lines):
            _classes(one, found)
    for name, spelling in plain._SPELLINGS.items():
        (of,) = {one for one in found[name] if one.__name__ == name}
        for attribute in [*spelling.named, *spelling.left_out, *spelling.blank, *spelling.added.values()]:
            assert hasattr(of, attribute), f"{name}.{attribute}"


def _classes(hint: Any, found: dict[str, set[type[Any]]]) -> None:
    """Find the classes that a type names, by their names and by those of their bases."""
    for one in getattr(hint, "__args__", ()):
        _classes(one, found)
    if inspect.isclass(hint) and hint not in found.get(hint.__name__, ()) and hint.__module__.startswith("aiki"):
        for base in hint.__mro__[:-1]:
            found.setdefault(base.__name__, set()).add(base)
        for one in inspect.get_annotations(hint, eval_str=True).values():
            _classes(one, found)


def test_the_file_is_part_of_what_is_installed():
    assert schemas.FILE.parent == Path(inspect.getfile(schemas)).parent


def test_what_json_is_made_of_is_frozen():
    found: dict[str, set[type[Any]]] = {}
    for output in schemas.OUTPUTS.values():
        for one in (*output.documents, *output.lines):
            _classes(one, found)
    classes = {one for some in found.values() for one in some if hasattr(one, "__dataclass_params__")}
    assert len(classes) > len(schemas.OUTPUTS)
    assert not [one for one in classes if not one.__dataclass_params__.frozen]
