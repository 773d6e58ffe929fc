"""What may be asked of lists together, and how the places where their pages begin are told."""

from __future__ import annotations

import pytest

from aiki.core.errors import UsageError
from aiki.rules.checking import check_request
from aiki.rules.filtering import is_by_key
from aiki.rules.places import KeyPlace, Place, begin, told
from aiki.wire.limits import CURSOR_CHARS, KEY_CHARS
from aiki.wire.messages import ListRuns

RUN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ListRuns(parent="nobody"), "'nobody' is not a UUID"),
        (ListRuns(parent=RUN, roots=True), "not both"),
        (ListRuns(version="1"), "a version is that of a workflow"),
        (ListRuns(key="a", key_prefix="b"), "one of both"),
        (ListRuns(key=""), "1 to 256 characters"),
        (ListRuns(key_prefix=""), "1 to 256 characters"),
        (ListRuns(key_prefix="x" * (KEY_CHARS + 1)), "1 to 256 characters"),
        (ListRuns(priority=101), "priorities are from -100 to 100"),
        (ListRuns(error="a\0"), "holds NUL"),
        (ListRuns(worker="a\0"), "holds NUL"),
        (ListRuns(workflow="a", version="\0"), "holds NUL"),
        (ListRuns(since=1 << 62), "out of range"),
    ],
)
def test_what_no_list_can_be_of_is_refused(request_: ListRuns, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_request(request_)


def test_a_list_is_in_the_order_of_keys_where_their_beginning_leads() -> None:
    assert is_by_key(ListRuns(key_prefix="order-"))
    assert not is_by_key(ListRuns(key="order-1"))
    assert not is_by_key(ListRuns(key_prefix="order-", parent=RUN)), "the parent leads"


@pytest.mark.parametrize("place", [Place(1_700_000_000_000_000, RUN), Place(0, RUN)])
def test_a_place_in_time_is_read_again_as_it_was_told(place: Place) -> None:
    assert begin(ListRuns(cursor=told(place))) == place
    with pytest.raises(UsageError, match="an earlier page of the same list"):
        begin(ListRuns(key_prefix="a", cursor=told(place)))


@pytest.mark.parametrize("key", ["order-1", "Łódź 😀", "😀" * KEY_CHARS, "a=b/../%s", "'"])
def test_a_place_among_keys_is_read_again_as_it_was_told(key: str) -> None:
    place = KeyPlace(key, "w" * 64)
    cursor = told(place)
    assert len(cursor) <= CURSOR_CHARS
    assert begin(ListRuns(key_prefix="a", cursor=cursor)) == place
    with pytest.raises(UsageError, match="an earlier page of the same list"):
        begin(ListRuns(cursor=cursor))


@pytest.mark.parametrize("cursor", ["", "k.%%%", "k.a", "1.2", f"x.{RUN}", f"{'9' * 17}.{RUN}", "k._w==", "k.AAAA"])
@pytest.mark.parametrize("prefix", [None, "a"])
def test_a_cursor_that_no_page_gave_is_refused(cursor: str, prefix: str | None) -> None:
    with pytest.raises(UsageError, match="an earlier page of the same list"):
        begin(ListRuns(cursor=cursor, key_prefix=prefix))
