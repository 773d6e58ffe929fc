"""A fan-out over a file: a child for each part of its lines, progress while they run, and a summary of all.

Children run wherever there is room, on this worker and on others, and each of them is a run that can be looked at. A
part that fails is no reason to do the others again: the summary says which one it was, and why. Parents read no files
and add up no lines: that is for tasks. A part is told by where it lies, since large data belong in no run.

    aiki worker start -f examples/aiki.yaml -m fanout
    aiki enqueue sum-sales path=examples/orders/orders.csv --key may --wait
    aiki run show sum-sales@may --tree
    aiki run list --parent sum-sales@may --state completed --count
    aiki run list --roots --label file=orders.csv
"""

import asyncio
import csv
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from aiki import Child, ChildFailed, Fatal, WorkflowRun, task, workflow


@dataclass
class Part:
    first: int
    lines: int


@dataclass
class Sales:
    orders: int = 0
    cents: dict[str, int] = field(default_factory=dict)
    """By article."""


@dataclass
class Summary:
    orders: int
    best: list[tuple[str, int]]
    failed: dict[str, str]


@task
def cut(path: str, lines: int) -> list[Part]:
    with Path(path).open() as file:
        count = sum(1 for _ in file) - 1  # without its head
    return [Part(first, min(lines, count - first)) for first in range(0, count, lines)]


@task
def add_up(path: str, part: Part) -> Sales:
    sales = Sales()
    with Path(path).open() as file:
        for row in islice(csv.DictReader(file), part.first, part.first + part.lines):
            if not row["unit_cents:"].isdigit():
                raise Fatal(f"{row['id']} has no price")
            cents = int(row["quantity:"]) * int(row["unit_cents:"])
            sales.orders += 1
            sales.cents[row["sku"]] = sales.cents.get(row["sku"], 0) + cents
    return sales


@workflow(name="sum-part")
async def sum_part(run: WorkflowRun, path: str, part: Part) -> Sales:
    return await add_up.run(run, path, part)


@workflow(name="sum-sales")
async def sum_sales(run: WorkflowRun, path: str, lines: int = 50) -> Summary:
    run.set_labels({"file": Path(path).name})
    parts = await cut.run(run, path, lines)
    children = [await sum_part.start(run, path, part) for part in parts]
    failed: dict[str, str] = {}
    ended = 0

    async def sales_of(part: Part, child: Child[Sales]) -> Sales:
        nonlocal ended
        try:
            return await child.result()
        except ChildFailed as error:
            failed[f"{part.first + 1}-{part.first + part.lines}"] = f"{error.message} ({error.run_id})"
            return Sales()
        finally:
            ended += 1
            run.set_details({"parts": len(parts), "ended": ended, "failed": len(failed)})

    every = await asyncio.gather(*map(sales_of, parts, children))
    cents = sum((Counter(sales.cents) for sales in every), Counter[str]())
    return Summary(sum(sales.orders for sales in every), cents.most_common(3), failed)
