"""Types that user code could have, one of each kind."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID, uuid4

import attrs
import msgspec
import pydantic
import pydantic.dataclasses

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Name(enum.StrEnum):
    A = "a"


@dataclass
class Item:
    sku: str
    count: int = 1
    price: float = 1.0
    tags: list[str] = field(default_factory=list)
    color: Color = Color.RED

    @cached_property
    def label(self) -> str:
        return f"{self.count} {self.sku}"


@dataclass
class Order:
    id: str
    items: list[Item] = field(default_factory=list)
    parent: Order | None = None
    first: Item = field(default_factory=lambda: Item("none"))


@dataclass
class Stamped:
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class Money:
    cents: int
    currency: str = "EUR"


@dataclass
class Rush(Order):
    hours: int = 1


@dataclass
class SameOrder(Order):
    def total(self) -> int:
        return len(self.items)


@dataclass
class Page(Generic[T]):
    items: list[T]
    next: str | None = None


@dataclass
class Everything:
    text: str
    flag: bool
    whole: int
    real: float
    nothing: None
    data: bytes
    moment: datetime.datetime
    day: datetime.date
    clock: datetime.time
    span: datetime.timedelta
    exact: Decimal
    ident: UUID
    color: Color
    level: Level
    pick: Literal["x", 2]
    many: list[float]
    pair: tuple[int, str]
    run: tuple[bool, ...]
    table: dict[str, list[int]]
    by_number: dict[int, str]
    by_color: dict[Color, float]
    maybe: Money | None
    either: int | str | list[int]
    anything: Any


@attrs.define
class Private:
    _hidden: int
    shown: str = "x"


@attrs.define
class Colour:
    name: str
    alpha: float = 1.0


@dataclass
class Strict:
    count: int

    def __post_init__(self) -> None:
        assert self.count > 0, "count must be positive"


class Draft(msgspec.Struct):
    title: str | msgspec.UnsetType = msgspec.UNSET
    words: int = 0


class Circle(msgspec.Struct, tag="circle"):
    radius: float
    label: str = ""


class Square(msgspec.Struct, tag="square", rename="camel"):
    side_length: float
    inner: Circle | Square | None = None


class Vector(msgspec.Struct, array_like=True):
    x: float
    y: float = 0.0


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Person(TypedDict):
    name: str
    age: NotRequired[int]


class Address(pydantic.BaseModel):
    street: str
    lines: list[str] = []
    since: datetime.date | None = None


class Customer(pydantic.BaseModel):
    name: str = pydantic.Field(alias="fullName", min_length=1)
    addresses: list[Address] = pydantic.Field(default_factory=list)
    weight: float = 1.0

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def shout(self) -> str:
        return self.name.upper()


class Tagged(pydantic.BaseModel):
    tags: list[set[str]]


class Nested(pydantic.BaseModel):
    inner: Tagged | None = None


@pydantic.dataclasses.dataclass
class Validated:
    x: int


Positive = Annotated[int, msgspec.Meta(gt=0)]
