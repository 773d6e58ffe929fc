"""Own what a task says of how far it has come, and what a run shows of itself: any JSON."""

from typing import Any, Final

import msgspec

from aiki.core.canonical import encoding_error, json_value
from aiki.core.errors import PayloadError
from aiki.core.misfit import Misfit
from aiki.wire.limits import DETAILS_BYTES

OF_HEARTBEAT: Final = "the heartbeat's details"
OF_RUN: Final = "the run's details"


def encode_details(value: Any, *, owner: str) -> bytes:
    """Return the value as JSON. Raises PayloadError, about its `owner`, if it is none, or too large."""
    try:
        lowered = json_value(value, c1=False)
        data = msgspec.json.encode(lowered)
    except Misfit as misfit:
        raise misfit.to_error(owner) from None
    except (UnicodeEncodeError, RecursionError, ValueError, TypeError) as error:
        raise encoding_error(error, value).to_error(owner) from None
    if len(data) > DETAILS_BYTES:
        raise PayloadError(
            f"{owner} have {len(data):,} bytes, more than {DETAILS_BYTES:,}",
            hint="keep large data elsewhere and say its address",
        )
    return data


def decode_details(data: bytes | msgspec.Raw) -> Any:
    """Return the value in `data`, a copy of the caller's own."""
    return msgspec.json.decode(data)
