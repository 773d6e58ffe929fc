"""The table of operations: each request of the wire stands in it once, in a lane that fits what carries it out."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from aiki.wire.messages import Request
from aikid.ops import OPS, TABLE, Lane, Op

NAMES = sorted(OPS)
KEEPS_CLAIMS = {"session_open", "session_close", "session_renew", "record", "claim", "page", "inbox"}
"""What workers need lest runs be taken from them."""


def of_lanes() -> dict[Lane, list[Op]]:
    lanes: dict[Lane, list[Op]] = defaultdict(list)
    for op in TABLE:
        lanes[op.lane].append(op)
    return lanes


def test_each_request_of_the_wire_has_one_operation() -> None:
    requests = [kind for kind in Request.__subclasses__() if kind.__module__.startswith("aiki.wire.messages.")]
    assert Counter(op.request for op in TABLE) == Counter(requests)


def test_each_operation_has_a_name_of_its_own() -> None:
    assert [OPS[op.name] for op in TABLE] == list(TABLE)


def test_calls_that_share_a_batch_share_what_carries_them_out() -> None:
    for lane, ops in of_lanes().items():
        assert lane.budget.limit == 1 or len({op.carry_out for op in ops}) == 1, lane.name


@pytest.mark.parametrize("name", NAMES)
def test_what_weighs_is_a_field_of_the_request_and_only_where_there_are_batches(name: str) -> None:
    op = OPS[name]
    assert op.rows is None or op.rows in op.request.__struct_fields__
    assert op.rows is None or op.lane.budget.limit > 1


def test_what_people_ask_takes_no_lane_of_what_keeps_claims() -> None:
    for ops in of_lanes().values():
        names = {op.name for op in ops}
        assert names <= KEEPS_CLAIMS or not names & KEEPS_CLAIMS


def test_no_namespace_may_have_all_of_a_lane() -> None:
    for lane in of_lanes():
        each = lane.budget.lanes_each
        assert each is not None, lane.name
        assert 0 < each < lane.budget.lanes, lane.name
