"""What a body passes to a task arrives as just that; what comes from anywhere else arrives equal; or it is refused."""

import collections
import datetime
import enum
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from aiki.core.errors import PayloadError
from aiki.payload import Json, Parameters, Result
from tests.unit.payload.shapes import Name, Point

UTC = datetime.UTC
BERLIN = ZoneInfo("Europe/Berlin")


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "no"


class Shouted(str):
    """Another text than its base has."""

    __slots__ = ()

    def __eq__(self, other):
        return isinstance(other, Shouted)

    __hash__ = str.__hash__


class Mixed(str, enum.Enum):  # noqa: UP042 - many still write it so, and its text is another one
    A = "a"


class Level(enum.IntEnum):
    LOW = 1


class Number(int): ...


class Real(float): ...


class Blob(bytes): ...


class Exact(Decimal): ...


class Ident(UUID): ...


class Moment(datetime.datetime): ...


class Day(datetime.date): ...


class Span(datetime.timedelta): ...


class Nanos(datetime.datetime):
    """As pandas' Timestamp: finer than its base."""

    def __eq__(self, other):
        return isinstance(other, Nanos)

    __hash__ = datetime.datetime.__hash__


class Items(list[Any]): ...


class Pair(NamedTuple):
    a: int
    b: int


class Movie(TypedDict, total=False):
    title: str
    year: int


@dataclass
class Measured:
    value: float
    values: list[float]


@dataclass
class Counted:
    """Runs code of its own when it is read."""

    count: int

    def __post_init__(self) -> None:
        self.count = abs(self.count)


SUBCLASSES: list[tuple[Any, Any, Any]] = [
    (str, Text("x"), "x"),
    (str, Name.A, "a"),
    (str | None, Mixed.A, "a"),
    (int, Number(3), 3),
    (int, Level.LOW, 1),
    (float, Real(1.5), 1.5),
    (float, Level.LOW, 1),
    (bytes, Blob(b"x"), b"x"),
    (Decimal, Exact("1.10"), Decimal("1.10")),
    (UUID, Ident(int=1), UUID(int=1)),
    (datetime.datetime, Moment(2024, 1, 2, 3, tzinfo=UTC), datetime.datetime(2024, 1, 2, 3, tzinfo=UTC)),
    (datetime.date, Day(2024, 1, 2), datetime.date(2024, 1, 2)),
    (datetime.timedelta, Span(1), datetime.timedelta(1)),
    (list[str], ["a", Name.A], ["a", "a"]),
    (list[int], [1, Number(3)], [1, 3]),
    (list[float], [Real(1.5), 2], [1.5, 2]),
    (list[UUID], [Ident(int=1)], [UUID(int=1)]),
    (list[datetime.date], [Day(2024, 1, 2)], [datetime.date(2024, 1, 2)]),
    (list[int], Items([1]), [1]),
    (list[Literal["a", "b"]], [Mixed.A, "b"], ["a", "b"]),
    (tuple[int, int], Pair(1, 2), (1, 2)),
    (tuple[str, ...], (Text("x"),), ("x",)),
    (dict[str, str], {Text("x"): Text("y")}, {"x": "y"}),
    (dict[int, int], {Level.LOW: 1}, {1: 1}),
    (dict[str, int], collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (dict[str, int], collections.defaultdict(int, a=1), {"a": 1}),
    (dict[str, list[int]], collections.Counter(), {}),
    (dict[str, Counted], {Name.A: Counted(1)}, {"a": Counted(1)}),
    (Movie, collections.OrderedDict(year=1, title="x"), {"year": 1, "title": "x"}),
    (Json, Text("x"), "x"),
    (Json, {"a": [Name.A, Level.LOW, Real(1.5)]}, {"a": ["a", 1, 1.5]}),
    (Json, collections.OrderedDict({Name.A: Items([1])}), {"a": [1]}),
]


def echo(annotation):
    def fn(value): ...

    fn.__annotations__ = {"value": annotation, "return": annotation}
    return fn


def arrive(annotation, value, *, exact):
    of = Parameters.of(echo(annotation), owner="task 'fn'", exact=exact)
    of.canonical((value,), {})
    _, (_, named) = of.encode_and_copy((value,), {})
    return named["value"]


def come_back(annotation, value):
    of = Result.of(echo(annotation), owner="task 'fn'")
    return of.decode(of.encode(value))


def classes(value):
    """Return the classes that a value is made of."""
    match value:
        case dict():
            return dict, {key: (type(key), classes(item)) for key, item in value.items()}
        case list() | tuple():
            return type(value), [classes(item) for item in value]
        case _:
            return type(value)


@pytest.mark.parametrize(("annotation", "value", "plain"), SUBCLASSES)
def test_of_a_subclass_the_equal_plain_value_is_stored(annotation, value, plain):
    for arrived in (arrive(annotation, value, exact=False), come_back(annotation, value)):
        assert arrived == plain == value
        # Only where nothing but floats are read is an int no int.
        assert classes(arrived) == classes(plain) or (annotation in (float, list[float]) and type(plain) is not float)
    form = Parameters.of(echo(annotation), owner="x").canonical
    assert form((value,), {}) == form((plain,), {})


@pytest.mark.parametrize(("annotation", "value", "plain"), SUBCLASSES)
def test_a_body_passes_no_subclass_to_a_task(annotation, value, plain):
    of = Parameters.of(echo(annotation), owner="task 'fn'", exact=True)
    for encode in (of.encode, of.canonical):
        with pytest.raises(PayloadError, match=r"would arrive as a plain \w+ at `\$\.value") as refused:
            encode((value,), {})
        assert "pass " in (refused.value.hint or "")
    assert classes(arrive(annotation, plain, exact=True)) == classes(plain)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (float, 3),
        (float, 2**70),
        (float, -0.0),
        (float | None, 3),
        (list[float], [1, 2.0, -0.0]),
        (tuple[float, ...], (1, 2.5)),
        (dict[str, list[float | None]], {"a": [1, None, 1.0]}),
        (float | str, 7),
    ],
)
def test_an_int_for_a_float_stays_an_int_on_its_way_to_a_task_and_back(annotation, value):
    for arrived in (arrive(annotation, value, exact=True), come_back(annotation, value)):
        assert arrived == value
        assert repr(arrived) == repr(value)


def test_what_is_enqueued_for_a_float_is_a_float():
    assert repr(arrive(list[float], [3, 3.0], exact=False)) == "[3.0, 3.0]"
    assert repr(come_back(Measured, Measured(3, [4]))) == "Measured(value=3.0, values=[4.0])"


@pytest.mark.parametrize("annotation", [float, list[float], Measured, dict[str, float]])
def test_an_integer_that_no_float_equals_is_refused(annotation):
    number = 2**53 + 1
    value = {
        float: number,
        list[float]: [number],
        Measured: Measured(number, []),
        dict[str, float]: {"a": number},
    }[annotation]
    for exact in (True, False):
        with pytest.raises(PayloadError, match="no float equals"):
            arrive(annotation, value, exact=exact)


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        (list[int], (1, 2), "expected list, got tuple"),
        (list[Point], (Point(1.0),), "expected list, got tuple"),
        (tuple[int, ...], [1, 2], "expected tuple, got list"),
        (tuple[int, str], [1, "a"], "expected tuple, got list"),
        (Json, (1, 2), "a tuple would come back as a list"),
        (Json, {"a": [Pair(1, 2)]}, r"a tuple would come back as a list at `\$\.value\.a\[0\]`"),
        (dict[str | None, int], {None: 1}, "the key None is text in JSON"),
        (dict[str | None, int], {None: 1, "None": 2}, "the key None is text in JSON"),
        (dict[int | str, int], {1: 1}, r"key that is text in JSON.*\.1`"),
        (dict[int | str, int], {1: 1, "1": 2}, "same text"),
        (dict[Literal[1, "1"], int], {"1": 1}, r"key that is text in JSON.*\.1`"),
        (list[int], [1, True], r"expected int, got bool at `\$\.value\[1\]`"),
        (list[bool], [True, 1], r"expected bool, got int at `\$\.value\[1\]`"),
        (float, True, "expected float, got bool"),
        (str, Shouted("x"), "does not equal it|would arrive as a plain"),
        (datetime.datetime, Nanos(2024, 1, 1), "does not equal it|would arrive as a plain"),
        pytest.param(list[int], [1, 10**5000], r"digits.*`\$\.value\[1\]`", id="5001 digits"),
        (datetime.datetime, datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN), "fold=1"),
        (datetime.datetime, datetime.datetime(2024, 10, 27, 2, 30, fold=1), "fold=1"),  # noqa: DTZ001
        (datetime.time, datetime.time(2, 30, fold=1), "fold=1"),
        (datetime.time, datetime.time(2, 30, tzinfo=BERLIN), "Europe/Berlin.* no offset without a date"),
        (dict[datetime.datetime, int], {datetime.datetime(1890, 1, 1, tzinfo=BERLIN): 1}, "RFC 3339"),
    ],
)
def test_what_would_arrive_as_another_value_is_refused(annotation, value, reason):
    for exact in (True, False):
        with pytest.raises(PayloadError, match=reason):
            arrive(annotation, value, exact=exact)


@pytest.mark.parametrize(
    "zone", [UTC, ZoneInfo("UTC"), ZoneInfo("Etc/GMT+5"), datetime.timezone(datetime.timedelta(minutes=-90))]
)
def test_a_zone_that_is_an_offset_passes(zone):
    value = datetime.datetime(2024, 7, 1, 12, tzinfo=zone)
    for arrived in (arrive(datetime.datetime, value, exact=True), come_back(datetime.datetime, value)):
        assert (arrived, arrived.utcoffset()) == (value, value.utcoffset())


def test_a_zone_with_a_name_is_no_mere_offset():
    value = datetime.datetime(2024, 7, 1, 12, tzinfo=BERLIN)
    for encode in (
        lambda: arrive(datetime.datetime, value, exact=False),
        lambda: come_back(list[datetime.datetime], [value]),
    ):
        with pytest.raises(PayloadError, match=r"Europe/Berlin.* would arrive as the offset 2:00:00") as refused:
            encode()
        assert "astimezone(datetime.UTC)" in (refused.value.hint or "")


def test_the_members_of_a_typed_dict_keep_their_order():
    assert list(arrive(Movie, {"year": 1, "title": "x"}, exact=True)) == ["year", "title"]


class EvilKey:
    def __str__(self):
        raise KeyboardInterrupt

    def __hash__(self):
        return 1


def test_the_path_to_a_key_is_told_whatever_its_text_does():
    for annotation in (dict[int, int], dict[str, int], Json):
        with pytest.raises(PayloadError, match="KeyboardInterrupt was raised"):
            arrive(annotation, {EvilKey(): 1}, exact=True)
