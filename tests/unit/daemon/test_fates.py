"""The table of fates: complete, without a word too many, and right for failures without a SQLSTATE."""

import psycopg
import pytest
from psycopg import errors

from aikid.store.fates import CLASSES, CODES, Fate, of_code, of_error

KNOWN = sorted(
    kind.sqlstate
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, psycopg.Error) and kind.sqlstate
)


def test_every_class_that_psycopg_knows_has_a_fate_of_its_own() -> None:
    assert {code[:2] for code in KNOWN} == CLASSES.keys()


def test_a_code_is_named_only_where_its_fate_is_not_that_of_its_class() -> None:
    assert CODES.keys() <= set(KNOWN)
    assert [code for code, fate in CODES.items() if CLASSES[code[:2]] is fate] == []


def test_what_is_unknown_is_not_taken_for_a_bug_of_ours() -> None:
    assert of_code("ZZ999") is Fate.WAIT


@pytest.mark.parametrize(
    ("error", "closed", "fate"),
    [
        (psycopg.OperationalError("the connection is lost"), True, Fate.RENEW),
        (psycopg.InterfaceError("the connection is closed"), True, Fate.RENEW),
        (psycopg.OperationalError("sending failed"), False, Fate.WAIT),
        (psycopg.DataError("text cannot contain NUL"), False, Fate.REFUSE),
        (psycopg.ProgrammingError("two placeholders, one parameter"), False, Fate.BUG),
    ],
)
def test_a_failure_on_this_side_has_a_fate_too(error: psycopg.Error, closed: bool, fate: Fate) -> None:
    assert of_error(error, closed=closed) is fate
