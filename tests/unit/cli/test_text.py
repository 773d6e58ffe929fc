"""Text of users on its one way out."""

from __future__ import annotations

import pytest

from aiki_cli.view.text import tsv_cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("text", "text"),
        ("a\tb\nc\\d\r", "a\\tb\\nc\\\\d\\r"),
        ({"é": [1, None]}, '{"é":[1,null]}'),
        (True, "true"),
        (7, "7"),
    ],
)
def test_a_tsv_cell_is_on_one_line(value, cell):
    assert tsv_cell(value) == cell
