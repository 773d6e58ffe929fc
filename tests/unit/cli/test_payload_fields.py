"""What TAB offers of a payload, from a schema that may be a stranger's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal

import pytest

from aiki import WorkflowRun, workflow
from aiki_cli.words.payload_fields import MOST, words
from tests.waiting import patient


@dataclass
class Line:
    sku: str
    count: int = 1


@dataclass
class Order:
    id: str
    total: Decimal
    lines: list[Line]
    first: Line | None = None


@workflow(name="process-order", version="1")
async def process_order(run: WorkflowRun, order: Order, fast: bool = False, note: str | None = None) -> None: ...


def test_each_member_is_a_word_up_to_its_value():
    assert words(process_order.parameters.schema()) == [
        ("order.id=", "string, required"),
        ("order.total=", "string, required"),
        ("order.lines:=", "array, required"),
        ("order.first.sku=", "string, required"),
        ("order.first.count:=", "integer, optional"),
        ("fast:=", "boolean, optional"),
        ("note=", "string or null, optional"),
    ]


ROUND = {"$ref": "#/$defs/A"}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"properties": 7},
        {"properties": {"a": None, "b": {"$ref": "#/$defs/none"}, "c": {"type": {}}}, "required": "a"},
        {"properties": {"a": ROUND}, "$defs": {"A": ROUND}},
        {"properties": {"a": ROUND}, "$defs": {"A": {"anyOf": [ROUND] * 10_000}}},
        {"properties": {"a": ROUND}, "$defs": {"A": {"properties": {str(n): ROUND for n in range(10_000)}}}},
    ],
)
def test_a_strangers_schema_costs_nothing(schema):
    began = time.monotonic()
    assert len(words(schema)) <= MOST
    assert time.monotonic() - began < patient(2)
