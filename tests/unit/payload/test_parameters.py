"""Parameters: what is stored comes back, equal values have equal forms, misfits are told with their path."""

import contextlib
import datetime
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import fastjsonschema
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.core.errors import PayloadError, UsageError
from aiki.payload import Json, Parameters
from aiki.payload.lowering import lowering
from aiki.wire import schema as wire_schema
from aiki.wire.limits import PAYLOAD_BYTES
from tests.unit.payload import shapes
from tests.unit.payload.shapes import Circle, Color, Item, Level, Money, Order, Point, Square, Vector

USD = Money(1, "USD")
HOUR_EAST = datetime.timezone(datetime.timedelta(hours=1))


def parameters(annotation, *default):
    def fn(value): ...

    fn.__annotations__ = {"value": annotation, "return": None}
    fn.__defaults__ = default or None
    return Parameters.of(fn, owner="task 'fn'")


def round_trip(annotation, value):
    of = parameters(annotation)
    args, kwargs = of.decode(of.encode((value,), {}))
    assert args == ()
    return kwargs["value"]


def form(annotation, value, *default):
    return parameters(annotation, *default).canonical((value,), {})


EARLY, LATE = (datetime.datetime(year, 1, 1) for year in (2, 9998))  # noqa: DTZ001 - the zone is drawn apart
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ZONES = (
    st.none()
    | st.just(datetime.UTC)
    | st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
)
EVERYTHING = st.builds(
    shapes.Everything,
    text=TEXT,
    flag=st.booleans(),
    whole=st.integers(),
    real=FLOATS,
    nothing=st.none(),
    data=st.binary(),
    moment=st.builds(lambda moment, zone: moment.replace(tzinfo=zone, fold=0), st.datetimes(EARLY, LATE), ZONES),
    day=st.dates(),
    clock=st.times(timezones=ZONES).map(lambda clock: clock.replace(fold=0)),
    span=st.timedeltas(datetime.timedelta(days=-365_000), datetime.timedelta(days=365_000)),
    exact=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20),
    ident=st.uuids(),
    color=st.sampled_from(Color),
    level=st.sampled_from(Level),
    pick=st.sampled_from(["x", 2]),
    many=st.lists(FLOATS),
    pair=st.tuples(st.integers(), TEXT),
    run=st.lists(st.booleans()).map(tuple),
    table=st.dictionaries(TEXT, st.lists(st.integers(-(2**63), 2**64))),
    by_number=st.dictionaries(st.integers(-(2**70), 2**70), TEXT),
    by_color=st.dictionaries(st.sampled_from(Color), FLOATS),
    maybe=st.none() | st.builds(Money, st.integers(), TEXT),
    either=st.integers() | TEXT | st.lists(st.integers()),
    anything=st.recursive(
        st.none() | st.booleans() | TEXT | st.integers() | FLOATS, lambda x: st.lists(x), max_leaves=5
    ),
)


@given(EVERYTHING)
def test_what_is_encoded_comes_back_equal(value):
    assert round_trip(shapes.Everything, value) == value


@given(EVERYTHING)
def test_what_comes_back_has_the_same_form(value):
    assert form(shapes.Everything, round_trip(shapes.Everything, value)) == form(shapes.Everything, value)


@given(EVERYTHING, EVERYTHING)
def test_different_values_have_different_forms(one, other):
    if one != other:
        assert form(shapes.Everything, one) != form(shapes.Everything, other)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Order, Order("a", [Item("x", 2, 2.5, ["t"])], Order("b"), Item("first"))),
        (shapes.SameOrder, shapes.SameOrder("a")),
        (shapes.Page[Item], shapes.Page([Item("x")], "n")),
        (shapes.Private, shapes.Private(1)),
        (shapes.Colour, shapes.Colour("red", 0.5)),
        (Circle | Square, Square(1.5, Circle(2.0, "in"))),
        (Square, Square(1.0, Square(2.0))),
        (Vector, Vector(1.5)),
        (shapes.Draft, shapes.Draft()),
        (shapes.Draft, shapes.Draft("t", 3)),
        (shapes.Positive | None, 3),
        (Literal["a"] | int | None, "a"),
        (list[Vector], [Vector(1.5, 2.5)]),
        (Point, Point(1.5)),
        (shapes.Person, {"name": "n"}),
        (shapes.Person | None, {"name": "n", "age": 3}),
        (shapes.Customer, shapes.Customer(fullName="n", addresses=[shapes.Address(street="s")])),
        (shapes.Customer | None, None),
        (dict[str, shapes.Address], {"a": shapes.Address(street="s", since=datetime.date(2020, 1, 2))}),
        (Json, {"a": [1, 2.5, None, True, "x", {}]}),
        (dict[str, Any] | None, {"a": {"b": 1}}),
        (list, [1, "x", [2]]),
        (dict, {"a": 1}),
        (float, 3),
        (float | None, 3.0),
        (int | None, 10**30),
        (str, "a\0b"),
        (bytes, b"\0\xff"),
        (datetime.datetime, datetime.datetime(2024, 10, 27, 12, 30, tzinfo=HOUR_EAST)),
        (shapes.Positive, 5),
        (tuple[()], ()),
        (shapes.Name | int, 5),
    ],
)
def test_each_kind_of_type_comes_back(annotation, value):
    assert round_trip(annotation, value) == value
    assert type(round_trip(annotation, value)) in (type(value), float)
    assert form(annotation, round_trip(annotation, value)) == form(annotation, value)


def test_a_subclass_of_text_comes_back_as_declared():
    assert type(round_trip(str, shapes.Name.A)) is str
    assert form(str, shapes.Name.A) == form(str, "a")


def test_the_payload_has_all_names_and_the_form_only_what_is_no_default():
    async def fn(order: Order, express: bool = False, *, note: str = "", ratio: float = 0.5) -> None: ...

    of = Parameters.of(fn, owner="task 'fn'")
    order = Order("a", [Item("x", 1, 1.0), Item("y", 2, 2.0)])
    assert msgspec.json.decode(of.encode((order,), {"ratio": 1})) == {
        "order": {
            "id": "a",
            "items": [
                {"sku": "x", "count": 1, "price": 1.0, "tags": [], "color": "red"},
                {"sku": "y", "count": 2, "price": 2.0, "tags": [], "color": "red"},
            ],
            "parent": None,
            "first": {"sku": "none", "count": 1, "price": 1.0, "tags": [], "color": "red"},
        },
        "express": False,
        "note": "",
        "ratio": 1,
    }
    assert of.canonical((order,), {"ratio": 1}) == (
        b'{"order":{"id":"a","items":[{"sku":"x"},{"count":2,"price":2,"sku":"y"}]},"ratio":1}'
    )
    assert of.canonical((order, False), {"note": "", "ratio": 0.5}) == of.canonical((order,), {})
    assert of.canonical((), {"order": order}) == of.canonical((order,), {})


@pytest.mark.parametrize(
    ("annotation", "before", "after"),
    [
        (Money, Money(1), Money(1, "".join(["E", "UR"]))),
        (shapes.Customer, shapes.Customer(fullName="n"), shapes.Customer(fullName="n", addresses=[], weight=1)),
        (Vector, Vector(1.0), Vector(1, 0)),
        (Point, Point(1.0), Point(1, 0)),
        (Circle, Circle(1.0), Circle(1, "")),
        (shapes.Colour, shapes.Colour("x"), shapes.Colour("x", 1)),
    ],
)
def test_a_default_given_is_a_default_left_out(annotation, before, after):
    assert form(annotation, before) == form(annotation, after)
    assert b"[1]" in form(annotation, after) or b"0" not in form(annotation, after)


def test_a_new_field_or_parameter_with_a_default_leaves_the_form_alone():
    @dataclass
    class Old:
        a: int

    @dataclass
    class New:
        a: int
        b: dict[str, list[int]] = field(default_factory=lambda: {"x": [1]})

    def before(thing: Old) -> None: ...
    def after(thing: New, more: Money = USD, rest: list[int] = [1, 2]) -> None: ...  # noqa: B006

    form_before = Parameters.of(before, owner="x").canonical((Old(1),), {})
    assert Parameters.of(after, owner="x").canonical((New(1),), {}) == form_before
    assert Parameters.of(after, owner="x").canonical((New(1, {"x": [1]}), Money(1, "USD"), [1, 2]), {}) == form_before
    assert Parameters.of(after, owner="x").canonical((New(1, {}), Money(1), []), {}) == (
        b'{"more":{"cents":1},"rest":[],"thing":{"a":1,"b":{}}}'
    )
    args, kwargs = Parameters.of(after, owner="x").decode(b'{"thing":{"a":1}}')
    assert (args, kwargs) == ((), {"thing": New(1)})


def test_a_default_that_is_new_each_time_stays_in_the_form():
    assert b"id" in form(shapes.Stamped, shapes.Stamped())


def test_one_and_true_are_different_even_as_defaults():
    assert form(int | bool, True, 1) == b'{"value":true}'
    assert form(int | bool, 1, 1) == b"{}"
    assert form(list[int | bool], [True], [1]) == b'{"value":[true]}'


def test_what_a_dataclass_remembers_beside_its_fields_is_not_stored():
    item = Item("x")
    before = form(Item, item)
    assert item.label == "1 x"
    vars(item)["extra"] = 1
    assert form(Item, item) == before
    assert round_trip(Item, item) == Item("x")


def test_a_dataclass_that_was_decoded_has_the_form_of_the_one_encoded():
    of = parameters(Order)
    _, kwargs = of.decode(b'{"value":{"id":"a"}}')
    assert of.canonical((), kwargs) == of.canonical((Order("a"),), {})
    assert of.encode((), kwargs) == of.encode((Order("a"),), {})


def test_datetimes_keep_their_offset():
    utc = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.UTC)
    berlin = utc.astimezone(HOUR_EAST)
    assert form(datetime.datetime, utc) == b'{"value":"2024-01-01T12:00:00Z"}'
    assert form(datetime.datetime, berlin) == b'{"value":"2024-01-01T13:00:00+01:00"}'
    assert form(datetime.datetime, berlin, utc) == form(datetime.datetime, berlin)


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        (int, "1", r"expected int, got str at `\$\.value`"),
        (int, True, "expected int, got bool"),
        (int, 1.0, "expected int, got float"),
        (str, None, "expected str, got None"),
        (Order, {"id": "a"}, "expected Order, got dict"),
        (Order, Order("a", [Item("x", "2")]), r"expected int, got str at `\$\.value\.items\[0\]\.count`"),  # type: ignore[arg-type]
        (Order, Order("a", parent=Order("b", parent=Order(3))), r"at `\$\.value\.parent\.parent\.id`"),  # type: ignore[arg-type]
        (Order, shapes.Rush("a"), "the Rush would arrive as a Order"),
        (dict[str, list[int]], {"a": [1, "x"]}, r"at `\$\.value\.a\[1\]`"),
        (list[str], {"a"}, "expected list, got set"),
        (list[str], "abc", "expected list, got str"),
        (tuple[int, str], (1,), "expected 2 items, got 1"),
        (tuple[int, Money], (1, 2), r"\$\.value\[1\]"),
        (int | str | None, 1.5, "expected int or str or None, got float"),
        (Circle | Square, Vector(1.0), "expected Circle or Square, got Vector"),
        (Color, "red", "expected Color, got str"),
        (float, float("nan"), "nan is not a number"),
        (list[float], [1.0, float("-inf")], r"-inf is not a number.*\$\.value\[1\]"),
        (float, 10**400, "too large for a float"),
        (Decimal, Decimal("sNaN"), "Decimal sNaN is not a number"),
        (Json, {"a": [float("nan")]}, r"\$\.value\.a\[0\]"),
        (Json, {"a": datetime.date(2020, 1, 1)}, "a date is not JSON"),
        (Json, {"a": {1}}, "a set is not JSON"),
        (Json, Item("x"), "a Item is not JSON"),
        (dict[str, Any], {"a": {1: 2}}, "a key of type int is not JSON"),
        (list[Any], [Color.RED], "a Color is not JSON"),
        (dict[int | str, int], {1: 1, "1": 2}, "two keys that are the same text"),
        (str, "\ud800", r"lone surrogate.*\$\.value"),
        (Item, Item("x", tags=["ok", "\udfff"]), r"lone surrogate.*\$\.value\.tags\[1\]"),
        (dict[str, int], {"\ud800": 1}, "lone surrogate"),
        (shapes.Person, {"name": "n", "other": 1}, r"no such key, so it would be lost at `\$\.value\.other`"),
        (shapes.Person, {"age": 1}, "required key is missing"),
        (shapes.Positive, 0, "expected `int` >= 1"),
        (shapes.Positive | None, 0, "expected `int` >= 1"),
        (Annotated[list[Item], msgspec.Meta(min_length=1)], [], "length >= 1"),
        (Annotated[dict[str, Item], msgspec.Meta(min_length=1)], {}, "length >= 1"),
        (Literal["a"] | int, "b", "invalid enum value 'b'"),
        (list[shapes.Positive], [1, -1], r"\$\.value\[1\]"),
        (shapes.Customer, shapes.Customer.model_construct(name=""), "fullName: String should have at least 1"),
        (shapes.Customer, shapes.Customer(fullName="n", weight=float("nan")), "weight"),
        (datetime.date, EARLY, "expected date, got datetime"),
        (
            datetime.datetime,
            datetime.datetime(1890, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
            "RFC 3339 cannot hold",
        ),
        pytest.param(int, 10**5000, "digits", id="5001 digits"),
        (str, "x" * PAYLOAD_BYTES, "has 262,15. bytes, more than 262,144"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(annotation, value, reason):
    with pytest.raises(PayloadError, match=reason):
        parameters(annotation).encode((value,), {})


@pytest.mark.parametrize("make", [list, dict])
def test_deep_nesting_is_refused_and_crashes_nothing(make):
    value: Any = 1
    for _ in range(100_000):
        value = [value] if make is list else {"a": value}
    for call in (parameters(Json).encode, parameters(Json).canonical):
        with pytest.raises(PayloadError, match="200 levels"):
            call((value,), {})
    order = Order("a")
    for _ in range(100_000):
        order = Order("a", parent=order)
    with pytest.raises(PayloadError, match="200 levels"):
        parameters(Order).encode((order,), {})
    with pytest.raises(PayloadError, match="200 levels"):
        parameters(Order).canonical((order,), {})


def test_a_typed_value_may_be_as_deep_as_the_limit():
    order = Order("a")  # its first item's tags are the third level of it
    for _ in range(196):
        order = Order("a", parent=order)
    assert round_trip(Order, order) == order
    with pytest.raises(PayloadError, match="200 levels"):
        round_trip(Order, Order("a", parent=order))


@pytest.mark.parametrize(
    ("annotation", "raw", "reason"),
    [
        (int, b'{"value":"1"}', r"expected `int`, got `str` at `\$\.value`"),
        (Order, b'{"value":{"id":"a","items":[{"sku":1}]}}', r"at `\$\.value\.items\[0\]\.sku`"),
        (int, b"{}", "missing required field `value`"),
        (int, b'{"value":1,"vlaue":2}', "unknown field `vlaue`"),
        (int, b"[1]", "expected `object`, got `array`"),
        (int, b"", "truncated"),
        (shapes.Strict, b'{"value":{"count":0}}', "AssertionError: count must be positive"),
        (int, b"{", "truncated"),
        (str, b'{"value":"\xff"}', "utf-8|UTF-8"),
        (float, b'{"value":1e999}', "out of range"),
        (Json, b'{"value":' + b"[" * 5_000_000, "200 levels"),
        (Order, b'{"value":' + b'{"id":"a","parent":' * 100_000, "200 levels"),
        (shapes.Customer, b'{"value":{"fullName":""}}', r"fullName: String should.*\$\.value"),
    ],
)
def test_what_arrives_and_does_not_fit_is_refused_with_its_path(annotation, raw, reason):
    with pytest.raises(PayloadError, match=reason):
        parameters(annotation).decode(raw)


@given(st.binary(max_size=60) | TEXT.map(str.encode))
def test_no_bytes_make_decoding_raise_anything_else(raw):
    for data in (raw, b'{"value":' + raw + b"}"):
        with contextlib.suppress(PayloadError):
            parameters(shapes.Order).decode(data)


def test_arguments_are_bound_as_python_binds_them():
    def fn(a: int, /, b: int, c: int = 3, *, d: int, e: int = 5) -> None: ...

    of = Parameters.of(fn, owner="task 'fn'")
    assert of.encode((1, 2), {"d": 4}) == b'{"a":1,"b":2,"d":4,"c":3,"e":5}'
    assert of.decode(b'{"a":1,"b":2,"d":4}') == ((1,), {"b": 2, "d": 4})
    assert of.decode(b'{"e":0,"d":4,"c":9,"b":2,"a":1}') == ((1,), {"b": 2, "c": 9, "d": 4, "e": 0})
    for args, kwargs in [
        ((), {}),
        ((1,), {"d": 1}),
        ((1, 2), {}),
        ((1, 2, 3, 4), {"d": 1}),
        ((1, 2), {"d": 1, "b": 2}),
        ((1, 2), {"d": 1, "x": 2}),
        ((), {"a": 1, "b": 2, "d": 1}),
    ]:
        for call in (of.encode, of.canonical):
            with pytest.raises(UsageError, match=r"task 'fn' takes \(a: int, /, b: int, c: int = 3, \*, d: int"):
                call(args, kwargs)


def test_names_that_python_would_mangle_and_no_names_at_all():
    def odd(__id: int, self_: int, type: str = "t") -> None: ...
    def empty() -> None: ...

    of = Parameters.of(odd, owner="x")
    assert of.decode(of.encode((1, 2), {})) == ((), {"__id": 1, "self_": 2, "type": "t"})
    assert Parameters.of(empty, owner="x").encode((), {}) == b"{}"
    assert Parameters.of(empty, owner="x").canonical((), {}) == b"{}"
    assert Parameters.of(empty, owner="x").decode(b"{}") == ((), {})


def test_the_schema_tells_names_types_and_defaults():
    @dataclass
    class Size:
        width: int
        depth: int = 2

    def fn(size: Size, customer: shapes.Customer, tags: list[str] = ["a"], ident: UUID | None = None) -> None: ...  # noqa: B006

    schema = Parameters.of(fn, owner="x").schema()
    assert schema["required"] == ["size", "customer"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["tags"] == {"type": "array", "items": {"type": "string"}, "default": ["a"]}
    assert schema["$defs"]["Size"]["properties"]["depth"] == {"type": "integer", "default": 2}
    assert "fullName" in schema["properties"]["customer"]["properties"]
    (address,) = (part for name, part in schema["$defs"].items() if name.endswith("_Address"))
    assert address["required"] == ["street"]
    check = fastjsonschema.compile(schema, use_default=False)
    good: Any = {"size": {"width": 1}, "customer": {"fullName": "n", "addresses": [{"street": "s"}]}}
    assert check(good) == good
    good["customer"]["addresses"][0]["street"] = 1
    with pytest.raises(fastjsonschema.JsonSchemaValueException, match="street must be string"):
        check(good)
    assert msgspec.json.decode(msgspec.json.encode(schema)) == schema


class Tree(pydantic.RootModel["Tree | int"]): ...


def test_the_schema_says_no_more_than_its_readers_take():
    class Extra(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(json_schema_extra={"x-ui": {"$ref": "http://example.com/"}, "not": {}})
        by_pattern: dict[Annotated[str, pydantic.StringConstraints(pattern="^a")], int]
        one: Literal["one"] = "one"

    def extra(extra: Extra) -> None: ...

    def endless(tree: Tree, depth: int = 1) -> None: ...

    def large(item: Annotated[int, msgspec.Meta(description="x" * 300_000)]) -> None: ...

    form = Parameters.of(extra, owner="x").schema()
    assert wire_schema.parse(msgspec.json.encode(form)) == form
    assert form["properties"]["extra"]["properties"]["one"]["const"] == "one"
    names = Parameters.of(endless, owner="x").schema()
    assert names == {
        "type": "object",
        "properties": {"tree": {}, "depth": {}},
        "required": ["tree"],
        "additionalProperties": False,
    }
    assert Parameters.of(large, owner="x").schema()["properties"] == {"item": {}}


@dataclass
class Plain:
    name: str
    sizes: list[int]


@dataclass
class WithDefault:
    name: str = ""


@pytest.mark.parametrize(
    ("annotation", "is_one"),
    [
        *((str, True), (dict[str, str], True), (Plain, True), (list[Plain | None], True)),
        *((float, False), (Json, False), (WithDefault, False), (dict[str, list[WithDefault]], False)),
    ],
)
def test_arguments_whose_forms_cannot_differ_are_lowered_once(annotation: Any, is_one: bool) -> None:
    found = lowering(annotation)
    assert (found.whole is found.c1) is is_one


def test_what_was_lowered_for_the_form_is_encoded_as_the_arguments_are() -> None:
    of = parameters(dict[str, list[int]])
    given = {"b": [1], "a": [2]}
    form, lowered = of.canonical_and_lowered((given,), {})
    assert lowered is not None
    assert form == of.canonical((given,), {})
    assert of.encode_and_copy((given,), {}, lowered) == of.encode_and_copy((given,), {})
    assert parameters(float).canonical_and_lowered((1.0,), {})[1] is None
