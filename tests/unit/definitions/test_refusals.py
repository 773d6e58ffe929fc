"""Signatures that cannot be stored are refused in our own words, with the parameter, the function and its line."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import enum
import functools
import importlib.util
import sys
from collections.abc import Callable, Coroutine
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec
import pytest

from aiki.core.errors import UsageError
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.definitions import guarded
from tests.unit.payload.shapes import Address, Circle, Item, Money, Name, Nested, Order, Validated

T = TypeVar("T")


@dataclass
class Bag:
    things: set[str] = field(default_factory=set)


@dataclass
class Shelf:
    bags: list[Bag]


class Ordinal(enum.Enum):
    A = 1
    B = "b"


class Huge(enum.IntEnum):
    A = 2**70


@dataclass
class Scaled:
    a: int
    scale: InitVar[int] = 2


@dataclass
class Sloppy:
    count: int = None  # type: ignore[assignment]


def star_args(*items: int) -> None: ...
def star_kwargs(**items: int) -> None: ...
def no_annotation(x) -> None: ...
def no_result(x: int): ...
def a_variable(x: list[T]) -> T: ...
def a_set(x: set[int]) -> None: ...
def a_frozen_set(x: int) -> frozenset[int]: ...
def a_callable(x: Callable[[int], int]) -> None: ...
def a_coroutine() -> Coroutine[Any, Any, int]: ...
def an_object(x: object) -> None: ...
def a_class(x: msgspec.json.Encoder) -> None: ...
def two_dataclasses(x: Item | Money) -> None: ...
def two_dataclasses_deep(x: dict[str, list[Item | Money]]) -> None: ...
def an_untagged_struct(x: Circle | Item) -> None: ...
def a_model_or_else(x: Address | int) -> None: ...
def a_set_inside(x: Shelf) -> None: ...
def float_keys(x: dict[float, int]) -> None: ...
def bool_keys(x: dict[bool, int]) -> None: ...
def tuple_keys(x: list[dict[tuple[int, int], int]]) -> None: ...
def no_keys(x: dict[None, int]) -> None: ...
def an_enum_of_both(x: Ordinal) -> None: ...
def a_huge_enum(x: list[Huge]) -> None: ...
def an_init_var(x: Scaled) -> None: ...
def bad_default(x: int = "1") -> None: ...  # type: ignore[assignment]
def default_of_a_subclass(x: str = Name.A) -> None: ...
def bad_field_default(x: Sloppy) -> None: ...
def nan_default(x: float = float("nan")) -> None: ...
def a_model_with_a_set(x: Nested) -> None: ...
def a_pydantic_dataclass(x: Validated) -> None: ...
def two_texts(x: str | datetime) -> None: ...
def complex_number(x: complex) -> None: ...
def generic_bag(x: list[Bag]) -> None: ...


class Service:
    def method(self, x: int) -> None: ...


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (star_args, r"parameter `items` of star_args .*`\*items` has no names"),
        (star_kwargs, r"parameter `items`.*`\*\*items` has no fixed names"),
        (no_annotation, "parameter `x` of no_annotation.*no annotation: write `x: <type>`"),
        (no_result, "its result of no_result.*no annotation: write `-> <type>`"),
        (a_variable, "parameter `x`.*type variable ~T"),
        (a_set, "parameter `x`.*a set has no order"),
        (a_frozen_set, "its result.*a set has no order"),
        (a_callable, "parameter `x`.*a function cannot be stored"),
        (a_coroutine, "its result.*a function cannot be stored"),
        (an_object, "parameter `x`.*`object` says nothing"),
        (a_class, "parameter `x`.*Encoder is no type that Aiki stores"),
        (two_dataclasses, "parameter `x`.*look the same in JSON"),
        (two_dataclasses_deep, "parameter `x`.*look the same in JSON"),
        (an_untagged_struct, "parameter `x`.*look the same in JSON"),
        (a_model_or_else, "parameter `x`.*only `Model | None`"),
        (a_set_inside, "parameter `x`.*field `bags` of Shelf: field `things` of Bag: a set has no order"),
        (float_keys, "parameter `x`.*float keys"),
        (bool_keys, "parameter `x`.*JSON has text alone: use a list of pairs"),
        (tuple_keys, "parameter `x`.*JSON has text alone: use a list of pairs"),
        (no_keys, "parameter `x`.*JSON has text alone: use a list of pairs"),
        (an_enum_of_both, "parameter `x`.*Ordinal.*all text, or all whole numbers"),
        (a_huge_enum, "parameter `x`.*all text, or all whole numbers"),
        (an_init_var, "parameter `x`.*Scaled.*make its `InitVar` a plain field"),
        (bad_default, "parameter `x`.*default does not fit its annotation: expected int, got str"),
        (
            default_of_a_subclass,
            r"parameter `x`.*the Name would arrive as a plain str \(pass value\.value, or annotate",
        ),
        (bad_field_default, "parameter `x`.*field `count` of Sloppy: its default does not fit.*expected int, got None"),
        (nan_default, "parameter `x`.*nan is not a number"),
        (a_model_with_a_set, "parameter `x`.*field `tags` of Tagged: a set has no order"),
        (a_pydantic_dataclass, "parameter `x`.*Validated is a pydantic dataclass"),
        (two_texts, "parameter `x`.*look the same in JSON: choose one"),
        (complex_number, "parameter `x`.*complex is no type"),
        (Service.method, "parameter `self` of Service.method.*move it out of the class"),
    ],
)
def test_a_signature_that_cannot_be_stored_is_refused_where_it_is_decorated(fn, reason):
    with pytest.raises(UsageError, match=rf"task '\w+': .*{reason}") as caught:
        task(fn)
    assert f"test_refusals.py:{fn.__code__.co_firstlineno})" in str(caught.value)


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (Service, "needs a function"),
        (functools.partial(a_set, {1}), "needs a function"),
        (len, "needs a function"),
        (staticmethod(a_set), "needs a function"),
        (lambda: None, "'<lambda>' cannot name task"),
    ],
)
def test_what_is_no_function_is_no_task(thing, reason):
    with pytest.raises(UsageError, match=reason):
        task(thing)


def test_generators_are_no_tasks():
    def one() -> Any:
        yield 1

    async def two() -> Any:
        yield 1

    for generator in (one, two):
        with pytest.raises(UsageError, match=r"generator .*return a list"):
            task(generator)


@pytest.fixture(params=["text", "late"])
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`guarded`, whose annotations are text; or what it is without that: from 3.14 on Python reads them late itself."""
    if request.param == "text":
        return guarded
    if sys.version_info < (3, 14):
        pytest.skip("Python 3.14 is the first that reads annotations late")
    file = tmp_path / "guarded.py"
    file.write_text(Path(guarded.__file__).read_text().replace("from __future__ import annotations", ""))
    spec = importlib.util.spec_from_file_location("late", file)
    assert spec is not None
    assert spec.loader is not None
    late = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "late", late)
    spec.loader.exec_module(late)
    return late


@pytest.mark.parametrize(
    ("function", "name", "use"),
    [
        ("takes_item", "Item", lambda made: made.parameters.schema()),
        ("takes_item", "Item", lambda made: made.parameters.canonical((1,), {})),
        ("returns_cash", "Cash", lambda made: made.result.encode(1)),
        ("returns_cash", "Cash", lambda made: made.result.decode(b"1")),
    ],
)
def test_an_import_for_type_checkers_only_is_told_at_first_use(module, function, name, use):
    made = task(getattr(module, function))
    with pytest.raises(UsageError, match=rf"{function} \(.*guarded.py:\d+\).*`{name}` is imported only under"):
        use(made)


def test_the_run_may_be_imported_for_type_checkers_only(module):
    assert list(workflow(module.guarded_flow).parameters.schema()["properties"]) == ["count"]


def test_a_name_that_is_nowhere_is_told_at_first_use(module):
    with pytest.raises(UsageError, match="`Nowhere` is not defined at the top level"):
        task(module.takes_nothing_known).parameters.decode(b"{}")


def test_a_class_may_stand_below_the_task_that_names_it(module):
    later = module.Later(module.Later())
    assert module.takes_later.parameters.canonical((later,), {}) == b'{"later":{"next":{}}}'
    assert module.takes_later.result.decode(b'{"next":{}}') == later


def test_a_class_may_stand_below_the_function_that_names_it():
    module: dict[str, Any] = {"__name__": "module"}
    exec("async def first(x: 'Second') -> 'Second': return x", module)
    made = task(module["first"])
    module["Second"] = Money
    assert made.parameters.canonical((Money(1),), {}) == b'{"x":{"cents":1}}'
    assert made.result.decode(b'{"cents":1}') == Money(1)


def test_classes_of_the_enclosing_function_are_found():
    @dataclass
    class Local:
        a: int

    @task
    async def step(x: Local) -> Local:
        return x

    @workflow(name="local")
    async def flow(run: WorkflowRun, x: Local) -> Local:
        return x

    assert step.parameters.canonical((Local(1),), {}) == b'{"x":{"a":1}}'
    assert flow.result.decode(b'{"a":1}') == Local(1)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ü", "x" * 65, 5])
def test_names_that_are_no_tokens_are_refused(name):
    with pytest.raises(UsageError, match="cannot name task"):
        task(name=name)(two_good)
    with pytest.raises(UsageError, match="cannot name workflow"):
        workflow(name=name)(good_flow)


def two_good(x: int, order: Order) -> None: ...
async def good_flow(run: WorkflowRun, x: int) -> None: ...
async def no_run() -> None: ...
async def wrong_run(order: Order) -> None: ...
async def keyword_run(*, run: WorkflowRun) -> None: ...
async def self_run(self, run: WorkflowRun) -> None: ...
def plain_flow(run: WorkflowRun) -> None: ...
async def starred(run: WorkflowRun, *x: int) -> None: ...


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (no_run, "first parameter of no_run.*must be `run: WorkflowRun`"),
        (wrong_run, "first parameter of wrong_run.*is Order.*write `run: WorkflowRun` in front"),
        (keyword_run, "must be `run: WorkflowRun`"),
        (self_run, "must be `run: WorkflowRun`"),
        (plain_flow, "must be an `async def`"),
        (starred, r"`\*x` has no names"),
    ],
)
def test_a_workflow_is_an_async_function_of_a_run(fn, reason):
    with pytest.raises(UsageError, match=reason):
        workflow(fn)


@pytest.mark.parametrize("version", ["", "1 0", "v/1", "x" * 33, 1, 1.0, None])
def test_a_version_is_text(version):
    with pytest.raises(UsageError, match=r"version=.*must be text"):
        workflow(version=version)(good_flow)
