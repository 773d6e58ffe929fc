"""A payload is checked by a schema that a stranger wrote: it ends, it does nothing else, and it says what is wrong."""

from __future__ import annotations

import copy
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import fastjsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiki.core.canonical import NESTING
from aiki.core.errors import PayloadError
from aiki.core.misfit import Misfit
from aiki.payload import Parameters
from aiki.payload.schema import check, without_defaults
from aiki.wire import schema
from tests.strangers.schemas import HARMLESS
from tests.unit.payload import shapes
from tests.waiting import patient


def misfit(payload: Any, form: dict[str, Any]) -> str | None:
    schema.parse(msgspec.json.encode(form))
    try:
        check(payload, form)
    except Misfit as found:
        return f"${found.path}: {found.reason}"
    return None


@pytest.mark.parametrize(("form", "payload"), HARMLESS.values(), ids=HARMLESS)
def test_a_hostile_schema_is_checked_soon_and_does_nothing(
    form: dict[str, Any], payload: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a check opens nothing")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("builtins.exec", refuse)
    monkeypatch.setattr("builtins.compile", refuse)
    started = time.monotonic()
    with suppress(Misfit):
        check(payload, form)
    without_defaults(payload, form, form)
    assert time.monotonic() - started < patient(3)


@pytest.mark.parametrize(
    ("form", "payload", "says"),
    [
        ({"type": "string"}, 5, "$: must be string, not 5"),
        ({"type": ["string", "null"]}, 5, "$: must be string or null, not 5"),
        ({"type": "integer"}, True, "$: must be integer, not True"),
        ({"type": "integer"}, 1.5, "$: must be integer, not 1.5"),
        ({"type": "integer"}, 1.0, None),
        ({"type": "number"}, 1, None),
        ({"type": "boolean"}, 0, "$: must be boolean, not 0"),
        ({"type": "string"}, {"a": 1}, "$: must be string, not dict"),
        ({"type": "integer"}, "x" * 100, "$: must be integer, not a long str"),
        ({"enum": ["a", "b"]}, "c", "$: must be 'a' or 'b', not 'c'"),
        ({"enum": [1]}, True, "$: must be 1, not True"),
        ({"const": 1}, 2, "$: must be 1, not 2"),
        ({"minLength": 2}, "x", "$: must have at least 2 characters, not 1"),
        ({"maxLength": 1}, "xy", "$: must have at most 1 characters, not 2"),
        ({"minItems": 1}, [], "$: must have at least 1 items, not 0"),
        ({"maxProperties": 1}, {"a": 1, "b": 2}, "$: must have at most 1 members, not 2"),
        ({"minimum": 1}, 0, "$: must be at least 1, not 0"),
        ({"exclusiveMaximum": 1.5}, 1.5, "$: must be less than 1.5, not 1.5"),
        ({"multipleOf": 5}, 7, "$: must be a multiple of 5, not 7"),
        ({"items": {"type": "null"}}, [None, 1], "$[1]: must be null, not 1"),
        ({"prefixItems": [{"type": "null"}, {}], "items": False}, [None, 1, 2], "$: must have at most 2 items, not 3"),
        ({"prefixItems": [{}], "items": {"type": "null"}}, [1, 2], "$[1]: must be null, not 2"),
        ({"required": ["a", "b"]}, {}, "$: 'a', 'b' are missing"),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, "$: 'b' is not known (there is only 'a')"),
        (
            {"properties": {"a_b": {}}, "additionalProperties": False},
            {"a-b": 1},
            "$: 'a-b' is not known (did you mean 'a_b'?)",
        ),
        (
            {"properties": {"a_b": {}}, "required": ["a_b"]},
            {"aB": 1},
            "$: 'a_b' is missing (is it what 'aB' should be?)",
        ),
        ({"additionalProperties": {"type": "null"}}, {"b": 1}, "$.b: must be null, not 1"),
        ({"propertyNames": {"maxLength": 1}}, {"bc": 1}, "$.bc: must have at most 1 characters, not 2"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", "$: must be integer or null, not 'x'"),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 3, "$: must be at most 2, not 3"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 0}]}, 1, None),
        ({"format": "date"}, "tomorrow", "$: must be a date, not 'tomorrow'"),
        ({"format": "date-time"}, "2026-11-29T19:00:00Z", None),
        ({"format": "uuid"}, "01890a5d-ac96-774b-bcce-b302099a8057", None),
        ({"format": "uuid"}, 7, None),
        ({"pattern": "^a"}, "b", None),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(form: dict[str, Any], payload: Any, says: str | None) -> None:
    assert misfit(payload, form) == says


def test_of_several_forms_the_one_that_got_furthest_is_told() -> None:
    order = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    form = {"properties": {"o": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/O"}]}}, "$defs": {"O": order}}
    assert misfit({"o": {"id": 7}}, form) == "$.o.id: must be string, not 7"
    assert misfit({"o": {}}, form) == "$.o: 'id' is missing"
    assert misfit({"o": 7}, form) == "$.o: must be null or object, not 7"


@dataclass
class Shipment:
    customer: shapes.Customer
    order: shapes.Order
    figure: shapes.Circle | shapes.Square | None
    pick: Literal["x", 2]
    color: shapes.Color
    table: dict[str, list[int]]
    either: int | str | list[int]
    count: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    note: Annotated[str, msgspec.Meta(min_length=1, max_length=3)] = "n"
    tags: Annotated[list[bool], msgspec.Meta(max_length=2)] = field(default_factory=list)


def ship(shipment: Shipment, person: shapes.Person, maybe: shapes.Money | None = None) -> None: ...


def draw(corner: tuple[float, float], points: list[shapes.Point], vector: shapes.Vector) -> None: ...


ORDER = {"id": "o", "items": [{"sku": "s", "tags": ["a"]}], "parent": {"id": "p"}}
GOOD: dict[str, Any] = {
    "shipment": {
        "customer": {"fullName": "n", "addresses": [{"street": "s", "lines": ["1"]}]},
        "order": ORDER,
        "figure": {"type": "square", "sideLength": 1.5, "inner": {"type": "circle", "radius": 1}},
        "pick": 2,
        "color": "red",
        "table": {"a": [1, 2]},
        "either": [1],
        "tags": [True],
    },
    "person": {"name": "n", "age": 7},
    "maybe": {"cents": 5},
}
SCALAR: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(-2, 10) | st.floats(-2, 10)
SCALAR |= st.sampled_from(["", "x", "red", "circle"])
JSON = SCALAR | st.lists(SCALAR, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "x"]), SCALAR, max_size=2)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container inside `value` with each of its keys."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from places(inner)


SHIP = Parameters.of(ship, owner="ship")
FORM = SHIP.schema()
OTHER_CHECKER = fastjsonschema.compile(FORM, use_default=False)


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """Return the good payload with one thing in it changed or left out."""
    payload = copy.deepcopy(GOOD)
    container, key = draw(st.sampled_from(list(places(payload))))
    if draw(st.booleans()):
        container[key] = draw(JSON)
    else:
        del container[key]
    return payload


@settings(max_examples=200, derandomize=True)
@given(changed())
def test_it_finds_what_another_checker_finds(payload: dict[str, Any]) -> None:
    found = misfit(payload, FORM)
    try:
        OTHER_CHECKER(payload)
    except fastjsonschema.JsonSchemaValueException:
        assert found is not None
    else:
        assert found is None


@settings(max_examples=200, derandomize=True)
@given(changed())
def test_it_refuses_nothing_that_the_types_take(payload: dict[str, Any]) -> None:
    if misfit(payload, FORM) is not None:
        with pytest.raises(PayloadError):
            SHIP.decode(msgspec.json.encode(payload))


def test_tuples_are_checked_item_by_item() -> None:
    form = Parameters.of(draw, owner="x").schema()
    good = {"corner": [1, 2.5], "points": [[1], [1, 2]], "vector": [3]}
    assert misfit(good, form) is None
    assert misfit(good | {"corner": [1]}, form) == "$.corner: must have at least 2 items, not 1"
    assert misfit(good | {"points": [["x"]]}, form) == "$.points[0][0]: must be number, not 'x'"


def test_defaults_are_left_out_at_any_depth() -> None:
    form = Parameters.of(ship, owner="x").schema()
    payload = copy.deepcopy(GOOD)
    payload["shipment"]["count"] = 1
    payload["maybe"] = None
    payload["shipment"]["customer"]["weight"] = 1.0
    assert without_defaults(payload, form, form) == {name: GOOD[name] for name in ("shipment", "person")}
    deep: dict[str, Any] = {"$ref": "#/$defs/A", "$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}}
    value: list[Any] = []
    for _ in range(NESTING - 1):
        value = [value]
    assert without_defaults(value, deep, deep) == value
    check(value, deep)
