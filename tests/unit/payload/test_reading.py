"""What people type is read by the types of a workflow's parameters, and comes out as Python would have stored it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import BaseModel

from aiki import Json
from aiki.core.canonical import canonical
from aiki.core.misfit import Misfit
from aiki.payload import Parameters, schema
from aiki.payload.reading import read
from aiki.payload.typed import Cell, Number, loads
from aiki.wire.schema import parse
from tests.strangers.schemas import HARMLESS
from tests.waiting import patient


class Colour(StrEnum):
    RED = "red"


@dataclass
class Line:
    price: Decimal
    count: int = 1


class Card(msgspec.Struct, tag=True):
    amount: Decimal


class Points(msgspec.Struct, tag=True):
    amount: float


class Model(BaseModel):
    amount: Decimal
    share: float = 0.5


def parameters_of(annotation: Any, default: Any = msgspec.UNSET) -> Parameters:
    def fn(value: Any) -> None: ...

    fn.__defaults__ = None if default is msgspec.UNSET else (default,)
    fn.__annotations__ = {"value": annotation, "return": None}
    return Parameters.of(fn, owner="the workflow")


def arrived(parameters: Parameters, value: Any) -> Any:
    """Return what a workflow gets of `value`, by name, as the argument `value`; refused before anything is sent."""
    form = parse(msgspec.json.encode(parameters.schema()))
    found = read({"value": value}, form)
    schema.check(found, form)
    args, kwargs = parameters.decode(msgspec.json.encode(found))
    return [*args, *kwargs.values()][0] if args or kwargs else "its default"


@pytest.mark.parametrize(
    ("annotation", "typed", "value"),
    [
        (Decimal, "12.10", Decimal("12.10")),
        (Decimal, "12345678901234567.89", Decimal("12345678901234567.89")),
        (Decimal, "12", Decimal(12)),
        (Decimal, "-0.0", Decimal("-0.0")),
        (Decimal, "1e400", Decimal("1e400")),
        (Decimal | None, "0.1", Decimal("0.1")),
        (list[Decimal], "[1.10, 2, 0.30]", [Decimal("1.10"), Decimal(2), Decimal("0.30")]),
        (dict[str, Decimal], '{"a": 1.10}', {"a": Decimal("1.10")}),
        (Line, '{"price": 9.90}', Line(Decimal("9.90"))),
        (Card | Points, '{"type": "Card", "amount": 1.10}', Card(Decimal("1.10"))),
        (Card | Points, '{"type": "Points", "amount": 1.10}', Points(1.1)),
        (Decimal | int, "12", 12),
        (Decimal | int, "12.0", Decimal("12.0")),
        (Decimal | float, "1.10", 1.1),
        (Model, '{"amount": 1234567890123456.89}', Model(amount=Decimal("1234567890123456.89"))),
        (float, "3.14159265358979323846", 3.141592653589793),
        (float, "-0.0", -0.0),
        (int, "123456789012345678901234567890", 123456789012345678901234567890),
        (Json, "[0.1, 1.10, 1e22]", [0.1, 1.1, 1e22]),
        (Json, "[0.30000000000000004, 0.1000000000000000055511]", [0.30000000000000004, 0.1]),
    ],
)
def test_a_number_arrives_with_the_digits_that_were_typed(annotation: Any, typed: str, value: Any) -> None:
    got = arrived(parameters_of(annotation), loads(typed))
    assert repr(got) == repr(value)


@pytest.mark.parametrize(
    ("annotation", "typed", "words"),
    [
        (float, "1e400", "1e400 is too large for a float"),
        (Json, '{"a": [12345678901234567.89]}', "more digits than a float can hold"),
        (str, "12.10", "must be string"),
        (Decimal, '"twelve"', "must be a decimal"),
        (Decimal, "true", "must be string"),
    ],
)
def test_a_number_that_would_arrive_as_another_is_refused(annotation: Any, typed: str, words: str) -> None:
    with pytest.raises(Misfit, match=words) as caught:
        arrived(parameters_of(annotation), loads(typed))
    assert caught.value.path.startswith(".value")


@pytest.mark.parametrize("typed", [Number("1e3"), "1e3", Decimal("1e3"), Cell("1e3")])
def test_a_decimal_by_name_has_the_digest_of_the_same_decimal_from_python(typed: Any) -> None:
    parameters = parameters_of(Decimal)
    form = parse(msgspec.json.encode(parameters.schema()))
    assert canonical(read({"value": typed}, form)) == parameters.canonical((Decimal("1e3"),), {})


@pytest.mark.parametrize(
    ("annotation", "cell", "value"),
    [
        (str, "5", "5"),
        (str, " so ", " so "),
        (str, "", ""),
        (str | None, "", ""),
        (int, "5", 5),
        (int, " -5 ", -5),
        (int, "5.0", 5),
        (int, "0042", 42),
        (int, "123456789012345678901234567890", 123456789012345678901234567890),
        (int | None, "", None),
        (float, "2", 2.0),
        (float, "1.5e3", 1500.0),
        (int | float, "2", 2),
        (bool, "TRUE", True),
        (bool, "no", False),
        (bool, "0", False),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, "2026-01-31 09:30:00", datetime(2026, 1, 31, 9, 30)),  # noqa: DTZ001 - as it was typed
        (datetime, "2026-01-31T09:30:00+00:00", datetime.fromisoformat("2026-01-31T09:30:00Z")),
        (Decimal, "12.10", Decimal("12.10")),
        (Decimal, "12345678901234567.89", Decimal("12345678901234567.89")),
        (Colour, "red", Colour.RED),
        (Literal["a", 2], "2", 2),
        (list[int], "[1, 2]", [1, 2]),
        (list[Decimal], "[1.10]", [Decimal("1.10")]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Line, '{"price": 1.10}', Line(Decimal("1.10"))),
        (Json, '{"a": [1.5, "b"]}', {"a": [1.5, "b"]}),
        (Json, '"5"', "5"),
        (Json, "abc", "abc"),
        (Json, "0042", "0042"),
    ],
)
def test_a_cell_is_read_by_the_type_of_its_parameter(annotation: Any, cell: str, value: Any) -> None:
    assert repr(arrived(parameters_of(annotation), Cell(cell))) == repr(value)


@pytest.mark.parametrize(
    ("annotation", "cell", "words"),
    [
        (int, "1,234", "a mark of thousands, or of a fraction"),
        (int, "1e3", "not a whole number"),
        (int, "4.5", "not a whole number"),
        (int, "five", "the cell 'five' is not a whole number"),
        (float, "1,5", "a mark of thousands, or of a fraction"),
        (float, "1'234.5", "a mark of thousands"),
        (float, "nan", "not a number"),
        (Decimal, "1.234,56", "a mark of thousands"),
        (bool, "maybe", "not true or false"),
        (date, "03/04/2026", "the day or the month may stand first"),
        (date, "20260304", "a date such as 2026-01-31"),
        (Annotated[datetime, msgspec.Meta(tz=True)], "31.01.2026", "a time such as 2026-01-31T09:30:00Z"),
        (list[int], "1 2", "not a JSON array"),
        (list[int], '{"a": 1}', "not a JSON array"),
        (Json, '{"a": 1', "not JSON"),
        (Json, "5", 'may be "5" or 5'),
        (Json, "true", 'may be "true" or true'),
        (int | str, "5", 'may be 5 or "5"'),
        (bool | int, "1", "may be true or 1|may be 1 or true"),
        (Decimal | float, "1.10", "may be"),
        (Colour, "blue", "is not 'red'"),
        (list[int], "[1, 2.5]", "must be integer"),
    ],
)
def test_a_cell_that_says_nothing_or_two_things_is_refused(annotation: Any, cell: str, words: str) -> None:
    with pytest.raises(Misfit, match=words) as caught:
        arrived(parameters_of(annotation), Cell(cell))
    assert caught.value.path.startswith(".value")


def test_an_empty_cell_leaves_out_what_has_a_default() -> None:
    assert arrived(parameters_of(int, 7), Cell("")) == "its default"
    assert arrived(parameters_of(int | None, 7), Cell("")) == "its default"
    with pytest.raises(Misfit, match="'value' is missing"):
        arrived(parameters_of(int), Cell(""))


def test_a_cell_of_which_no_schema_tells_is_text() -> None:
    assert read({"value": Cell("5")}, {}) == {"value": "5"}


def test_what_contains_itself_is_left_to_the_encoder() -> None:
    payload: dict[str, Any] = {}
    payload["value"] = payload
    with pytest.raises(RecursionError):
        read(payload, {})


@pytest.mark.parametrize(("form", "payload"), HARMLESS.values(), ids=HARMLESS)
def test_a_hostile_schema_is_read_by_soon(form: dict[str, Any], payload: dict[str, Any]) -> None:
    parsed = parse(msgspec.json.encode(form))
    began = time.monotonic()
    with suppress(Misfit):
        read(payload, parsed)
    assert time.monotonic() - began < patient(2)


def test_schemas_that_apply_in_ever_more_ways_are_read_by_soon() -> None:
    inner: dict[str, Any] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/A"}}
    form = {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [inner] * 100}}}
    payload: Any = Cell("5")
    for _ in range(50):
        payload = {"a": payload, "b": [Number("1.5")] * 100}
    began = time.monotonic()
    assert read(payload, parse(msgspec.json.encode(form)))["a"]["b"] == [1.5] * 100
    assert time.monotonic() - began < patient(2)
