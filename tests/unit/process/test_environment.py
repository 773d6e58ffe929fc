"""What files and shells leave around the value of a variable is no part of it."""

from __future__ import annotations

import pytest

from aiki.process.environment import trim_variables


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}\t", "\ufeff{}", "\ufeff{}\r\n", "\xa0{}"])
def test_the_values_of_our_variables_are_trimmed(around: str) -> None:
    environment = {"AIKI_NAMESPACE": around.format("shop"), "OTHER": around.format("x"), "AIKI_INNER": "a b\nc"}
    trim_variables(environment)
    assert environment == {"AIKI_NAMESPACE": "shop", "OTHER": around.format("x"), "AIKI_INNER": "a b\nc"}
