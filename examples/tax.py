"""A tax calculation, and how to test one: a task called directly is the plain function.

So `tax_of(Decimal("100"), "DE")` in a unit test needs no server, no worker and no mock: see
`tests/acceptance/examples/test_tax.py`. In a workflow the same call would raise UsageError and say `.run(run, ...)`.

    aiki worker start -f examples/aiki.yaml -m tax
    aiki enqueue tax-return -p '{"person": {"name": "Ada", "country": "DE", "income": ["61000.00", "950.50"]}}' --wait
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from aiki import Fatal, WorkflowRun, task, workflow

# Invented brackets: income above the first number is taxed by the second.
BRACKETS = {
    "DE": ((0, "0.00"), (12_000, "0.24"), (66_000, "0.42")),
    "PT": ((0, "0.13"), (8_000, "0.22"), (40_000, "0.44")),
}


@dataclass
class Person:
    name: str
    country: str
    income: list[Decimal]


@dataclass
class Assessment:
    taxable: Decimal
    tax: Decimal


@task
def add_up(income: list[Decimal]) -> Decimal:
    return sum(income, Decimal(0))


@task
def tax_of(taxable: Decimal, country: str) -> Decimal:
    if country not in BRACKETS:
        raise Fatal(f"no brackets for {country!r}")
    tax, above = Decimal(0), taxable
    for floor, rate in reversed(BRACKETS[country]):
        tax += max(above - floor, Decimal(0)) * Decimal(rate)
        above = min(above, Decimal(floor))
    return tax.quantize(Decimal("0.01"), ROUND_HALF_UP)


@workflow(name="tax-return")
async def tax_return(run: WorkflowRun, person: Person) -> Assessment:
    taxable = await add_up.run(run, person.income)
    return Assessment(taxable, await tax_of.run(run, taxable, person.country))
