"""What a status leaves out where a message is too small: what is for people before what programs wait for."""

from __future__ import annotations

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import State
from aiki.wire import weights
from aiki.wire.messages import NONE, RunStatus
from aikid.engine.status import within

RUN = RunStatus("id", "flow", "1", State.COMPLETED, 0, output=Raw(b'"%s"' % (b"o" * 10_000)))
SHOWN = replace(RUN, details=Raw(b'"%s"' % (b"d" * 1_000)))


@pytest.mark.parametrize("missing", [0, 1])
def test_a_status_that_does_not_fit_leaves_out_its_details_and_tells_its_result(missing: int) -> None:
    room = weights.of_status(SHOWN) + weights.REPLY_BYTES - missing
    assert within(SHOWN, room) == (RUN if missing else SHOWN)


def test_a_status_whose_result_alone_does_not_fit_says_so() -> None:
    told = within(SHOWN, weights.of_status(RUN) + weights.REPLY_BYTES - 1)
    assert (told.details, told.output) == (NONE, NONE)
    assert "its result" in (told.why or "")
