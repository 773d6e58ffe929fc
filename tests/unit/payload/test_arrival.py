"""What a type's own code makes of a value when it is read: it arrives as it was passed, or the call is refused."""

import datetime
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, SecretBytes, SecretStr

from aiki.core.errors import PayloadError
from aiki.definitions.task import task
from aiki.payload import Parameters

T = TypeVar("T")
UTC = datetime.UTC


class Login(BaseModel):
    user: str
    password: SecretStr


class Key(BaseModel):
    key: SecretBytes


class Vault(BaseModel):
    code: pydantic.Secret[int]


class Stored(BaseModel):
    password: SecretStr

    @pydantic.field_serializer("password", when_used="json")
    def _in_clear(self, value: SecretStr, info: pydantic.SerializationInfo) -> str:
        return value.get_secret_value() if info.context == {"aiki": True} else str(value)


class Animal(BaseModel):
    name: str


class Dog(Animal):
    breed: str = "none"


class Quiet(Animal):
    """No further field, but another class all the same."""


class Home(BaseModel):
    pet: Animal
    others: list[Animal] = []
    by_name: dict[str, pydantic.SerializeAsAny[Animal]] = {}


class Euros(BaseModel):
    cents: int

    @pydantic.field_validator("cents", mode="before")
    @classmethod
    def _from_euros(cls, value: Any) -> Any:
        return int(value) * 100


class Counted(BaseModel):
    reads: int = 0

    @pydantic.model_validator(mode="after")
    def _count(self) -> "Counted":
        self.reads += 1
        return self


class Cleaned(BaseModel):
    name: Annotated[str, pydantic.BeforeValidator(str.strip), pydantic.AfterValidator(str.lower)]


class Rounded(BaseModel):
    amount: Decimal

    @pydantic.field_serializer("amount")
    def _short(self, value: Decimal) -> str:
        return f"{value:.2f}"


class ByDay(BaseModel):
    at: datetime.datetime

    @pydantic.field_serializer("at")
    def _day(self, value: datetime.datetime) -> str:
        return value.date().isoformat()


class InUtc(BaseModel):
    at: datetime.datetime

    @pydantic.field_serializer("at")
    def _utc(self, value: datetime.datetime) -> datetime.datetime:
        return value.astimezone(UTC)


class AsText(BaseModel):
    a: int

    @pydantic.model_serializer
    def _text(self) -> str:
        return f"a={self.a}"


class Excluded(BaseModel):
    name: str
    inner: str = Field(default="none", exclude=True)


class Private(BaseModel):
    name: str
    _token: str = PrivateAttr(default="unset")
    _lock: Any = PrivateAttr(default=None)


class Derived(BaseModel):
    name: str
    _upper: str = ""

    def model_post_init(self, _: Any) -> None:
        self._upper = self.name.upper()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Spelled(BaseModel):
    one: int = Field(validation_alias="ONE")
    two: int = Field(validation_alias=pydantic.AliasChoices(pydantic.AliasPath("t", 0), "TWO", "zwei"))
    three: int = Field(validation_alias="in", serialization_alias="out", default=3)
    inner: "Spelled | None" = Field(default=None, validation_alias="INNER")


class Generated(BaseModel):
    model_config = ConfigDict(
        alias_generator=pydantic.AliasGenerator(
            validation_alias=lambda name: f"in_{name}", serialization_alias=lambda name: f"out_{name}"
        )
    )
    some: int
    more: list["Generated"] = []


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=False)
    some: int = Field(alias="Some")


class ByPath(BaseModel):
    a: int = Field(validation_alias=pydantic.AliasPath("x", 0))


class Holds(BaseModel):
    value: Any


class Numbers(BaseModel):
    real: float
    exact: Decimal = Decimal("1.10")
    at: datetime.datetime = datetime.datetime(2024, 1, 2, tzinfo=UTC)
    clock: datetime.time = datetime.time(1, 2)


class Frozen(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    ids: tuple[int, ...]
    by_number: dict[int, datetime.date] = {}


class Raw(BaseModel):
    data: bytes


class RawAsBase64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: float


class Bird(BaseModel):
    kind: Literal["bird"] = "bird"
    wings: int


class Zoo(BaseModel):
    pet: Annotated[Cat | Bird, Field(discriminator="kind")]
    value: int | float | str | bool = 1


class Paged(BaseModel, Generic[T]):
    items: list[T]


class Ids(RootModel[dict[str, tuple[int, ...]]]): ...


class Box(RootModel[Spelled]): ...


@dataclass
class Total:
    a: int
    total: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total += self.a


@dataclass
class Twice:
    a: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        self.twice = self.a * 2


@dataclass
class Later:
    a: int
    seen: list[int] = field(init=False, default_factory=list)


@dataclass
class Doubles:
    cents: int
    note: str = field(compare=False, default="")

    def __post_init__(self) -> None:
        self.cents *= 2


@dataclass(frozen=True)
class Stripped:
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.strip())


@dataclass
class Noted:
    """Its `==` does not see what its reading changes."""

    a: int
    note: str = field(compare=False, default="")

    def __post_init__(self) -> None:
        self.note += "!"


@dataclass
class Outer:
    inner: list[dict[str, Doubles]]


class Struct(msgspec.Struct):
    a: int

    def __post_init__(self) -> None:
        self.a += 1


@attrs.define
class Attrs:
    a: int
    b: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.b += 1


@attrs.define
class Converted:
    a: int = attrs.field(converter=lambda value: int(value) + 1)


def private(token: str = "unset", lock: object = None) -> Private:
    made = Private(name="n")
    made._token = token
    made._lock = lock
    return made


def arrive(annotation: Any, value: Any) -> tuple[Any, Any]:
    """Return what arrives of a value as an argument, and as a result."""

    def echo(value): ...

    echo.__annotations__ = {"value": annotation, "return": annotation}
    made = task(echo)
    _, (_, named) = made.parameters.encode_and_copy((value,), {})
    return named["value"], made.result.decode(made.result.encode(value))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Cleaned, Cleaned(name=" A ")),
        (Derived, Derived(name="a")),
        (Private, private()),
        (Open, Open(a=1, b=[1, {"c": None}])),  # type: ignore[call-arg]
        (Spelled, Spelled.model_validate({"ONE": 1, "TWO": 2, "INNER": {"ONE": 3, "zwei": 4, "in": 5}})),
        (list[Generated], [Generated.model_validate({"in_some": 1, "in_more": [{"in_some": 2}]})]),
        (ByName, ByName.model_validate({"some": 1})),
        (Box, Box.model_validate({"ONE": 1, "TWO": 2})),
        (Ids, Ids({"a": (1, 2)})),
        (Numbers, Numbers(real=-0.0)),
        (Numbers, Numbers.model_construct(real=3)),
        (Frozen, Frozen(ids=(1, 2), by_number={1: datetime.date(2024, 1, 2)})),
        (RawAsBase64, RawAsBase64(data=b"\xff\0")),
        (Zoo, Zoo(pet=Bird(wings=2), value="1")),
        (Zoo | None, Zoo(pet=Cat(lives=7), value=True)),
        (dict[str, Paged[Animal]], {"a": Paged[Animal](items=[Animal(name="x")])}),
        (Holds, Holds(value=[1, {"a": None}])),
        (Twice, Twice(3)),
        (Later, Later(1)),
        (Stripped, Stripped(" a ")),
        (Attrs | None, None),
        (Converted, Converted(1)),
    ],
)
def test_what_its_own_code_leaves_alone_arrives_as_it_was_passed(annotation, value):
    for arrived in arrive(annotation, value):
        assert arrived == value
        assert type(arrived) is type(value)


def test_a_secret_is_stored_where_its_owner_says_so():
    for arrived in arrive(Stored, Stored(password=SecretStr("hunter2"))):
        assert arrived.password.get_secret_value() == "hunter2"
    assert "hunter2" not in Stored(password=SecretStr("hunter2")).model_dump_json()


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        (Login, Login(user="a", password=SecretStr("hunter2")), r"SecretStr is dumped as asterisks.*\$\S*\.password`"),
        (list[Key], [Key(key=SecretBytes(b"k"))], r"SecretBytes is dumped as asterisks.*\[0\]\.key`"),
        (Vault, Vault(code=pydantic.Secret(42)), r"code: .*valid integer.*\(a secret is dumped as asterisks\)"),
        (Home, Home(pet=Dog(name="rex")), r"the Dog would arrive as a Animal at `\S*\.pet`"),
        (Home, Home(pet=Animal(name="a"), others=[Quiet(name="b")]), r"the Quiet would arrive.*\.others\[0\]`"),
        (Home, Home(pet=Animal(name="a"), by_name={"x": Dog(name="b")}), r"the Dog would arrive.*\.by_name\.x`"),
        (Animal, Dog(name="rex"), "the Dog would arrive as a Animal"),
        (Animal, Quiet(name="rex"), "the Quiet would arrive as a Animal"),
        (Paged, Paged[int](items=[1]), r"the Paged\[int\] would arrive as a Paged"),
        (Euros, Euros(cents=3), r"another value at `\S*\.cents`"),
        (Counted, Counted(), r"another value at `\S*\.reads`"),
        (Rounded, Rounded(amount=Decimal("1.234")), r"another value at `\S*\.amount`"),
        (Rounded, Rounded(amount=Decimal("1.5")), r"another value at `\S*\.amount`"),
        (ByDay, ByDay(at=datetime.datetime(2024, 1, 2, 3, tzinfo=UTC)), r"another value at `\S*\.at`"),
        (
            InUtc,
            InUtc(at=datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))),
            "another",
        ),
        (AsText, AsText(a=1), "should be an object"),
        (Excluded, Excluded(name="a", inner="kept"), r"another value at `\S*\.inner`"),
        (Private, private("secret"), r"another value at `\S*\._token`"),
        (Private, private(lock=threading.Lock()), r"the lock would arrive as a NoneType at `\S*\._lock`"),
        (Open, Open(a=1, b=datetime.date(2024, 1, 2)), r"the date would arrive as a str at `\S*\.b`"),  # type: ignore[call-arg]
        (ByPath, ByPath(x=[1]), "Field required"),  # type: ignore[call-arg]
        (Holds, Holds(value=(1, 2)), r"the tuple would arrive as a list at `\S*\.value`"),
        (Holds, Holds(value={1: "a"}), r"key that is text in JSON.*\.value\.1`"),
        (Holds, Holds(value=Animal(name="x")), "the Animal would arrive as a dict"),
        (Holds, Holds(value={1}), "the set would arrive as a list"),
        (Numbers, Numbers(real=float("inf")), "inf is not a number"),
        (Numbers, Numbers.model_construct(real="1"), "the str would arrive as a float"),
        (Raw, Raw(data=b"\xff"), "no UTF-8"),
        (Total, Total(5), r"another value at `\S*\.total`"),
        (Doubles, Doubles(5), r"another value at `\S*\.cents`"),
        (Noted, Noted(5), r"another value at `\S*\.note`"),
        (Outer, Outer([{"a": Doubles(1)}]), r"another value at `\S*\.inner\[0\]\.a\.cents`"),
        (Struct, Struct(1), r"another value at `\S*\.a`"),
        (Attrs, Attrs(1), r"another value at `\S*\.b`"),
    ],
)
def test_what_would_arrive_as_another_value_is_refused_with_its_place(annotation, value, reason):
    def echo(value): ...

    echo.__annotations__ = {"value": annotation, "return": annotation}
    made = task(echo)
    for encode in (lambda: made.parameters.encode((value,), {}), lambda: made.result.encode(value)):
        with pytest.raises(PayloadError, match=reason):
            encode()


def test_what_is_refused_says_what_to_do():
    for annotation, value, hint in [
        (Login, Login(user="a", password=SecretStr("x")), "field_serializer"),
        (Home, Home(pet=Dog(name="rex")), "annotate it with Dog"),
        (Euros, Euros(cents=3), "validators"),
        (AsText, AsText(a=1), "serializers"),
        (Raw, Raw(data=b"\xff"), 'ser_json_bytes="base64"'),
        (Total, Total(5), "__post_init__"),
    ]:
        with pytest.raises(PayloadError) as refused:
            arrive(annotation, value)
        assert hint in (refused.value.hint or "")


def test_a_secret_is_in_no_message():
    for value in (Login(user="a", password=SecretStr("hunter2")), private("hunter2"), Holds(value={("hunter2",)})):
        with pytest.raises(PayloadError) as refused:
            arrive(type(value), value)
        assert "hunter2" not in f"{refused.value} {refused.value.hint}"


def test_a_zone_in_a_model_is_no_mere_offset():
    berlin = Numbers(real=1.0, at=datetime.datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    with pytest.raises(PayloadError, match=r"the zone .*Europe/Berlin.* at `\$\.value\.at`"):
        arrive(Numbers, berlin)
    again = Numbers(real=1.0, at=datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")))
    with pytest.raises(PayloadError, match="another value"):
        arrive(Numbers, again)


def test_a_default_is_looked_at_like_what_is_passed():
    def fn(login: Login = Login(user="a", password=SecretStr("x"))) -> None: ...  # noqa: B008

    with pytest.raises(PayloadError, match=r"asterisks.*\$\.login\.password"):
        Parameters.of(fn, owner="workflow 'fn'").encode((), {})


def test_members_are_spelled_as_they_are_read_in_both_forms_and_in_the_schema():
    def fn(spelled: Spelled) -> None: ...

    of = Parameters.of(fn, owner="workflow 'fn'")
    spelled = Spelled.model_validate({"ONE": 1, "TWO": 2, "in": 4})
    assert msgspec.json.decode(of.encode((spelled,), {}))["spelled"] == {"ONE": 1, "TWO": 2, "in": 4, "INNER": None}
    assert of.canonical((spelled,), {}) == b'{"spelled":{"ONE":1,"TWO":2,"in":4}}'
    assert next(iter(of.schema()["$defs"].values()))["properties"].keys() == {"ONE", "TWO", "in", "INNER"}
