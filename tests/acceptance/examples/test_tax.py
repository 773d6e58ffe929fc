"""The unit tests that `examples/tax.py` speaks of: no server, no worker, no mock."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aiki import Fatal
from examples.tax import add_up, tax_of


def test_income_is_added_up_exactly() -> None:
    assert add_up([Decimal("0.10"), Decimal("0.20")]) == Decimal("0.30")


@pytest.mark.parametrize(
    ("taxable", "country", "tax"),
    [("12000", "DE", "0.00"), ("12001", "DE", "0.24"), ("70000", "DE", "14640.00"), ("8000", "PT", "1040.00")],
)
def test_each_bracket_is_taxed_by_its_rate(taxable: str, country: str, tax: str) -> None:
    assert tax_of(Decimal(taxable), country) == Decimal(tax)


def test_an_unknown_country_is_final() -> None:
    with pytest.raises(Fatal, match="no brackets for 'XX'"):
        tax_of(Decimal(1), "XX")
