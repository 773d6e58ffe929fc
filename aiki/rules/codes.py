"""Own when a route has got other code, as workers register it. Pure.

The code of a route is that which was registered last and was new then: in a rolling restart, in which workers of both
codes come and go, nothing has changed again by one that has what another live worker has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Code: TypeAlias = str
"""A fingerprint; its beginning, up to a dash, is the version of Python."""
RouteKey: TypeAlias = tuple[str, str]
"""Workflow and version."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The code of a route, if it has one: which it is, by which session, and which was before it.

    Of that one, since when it was the route's, and by which worker.
    """

    code: Code | None = None
    session: str = ""
    earlier: Code | None = None
    earlier_since: int = 0
    earlier_by: str = ""


def new_codes(
    told: Mapping[RouteKey, Code], known: Mapping[RouteKey, Registered], *, alike: Collection[RouteKey]
) -> dict[RouteKey, Code]:
    """Return, of the routes that are known, the codes that they get now.

    `alike` are those of which another live session has the code that is told.
    """
    return {
        route: told[route]
        for route, one in known.items()
        if one.code is None or (one.code != told[route] and route not in alike)
    }


def is_changed(known: Registered, session: str) -> bool:
    """Tell whether this session has brought the code, in the place of another; however often it asks."""
    return known.session == session and known.earlier is not None


def python_before(known: Registered) -> str:
    """Return the version of Python that the code before was of, if the code is of another."""
    before, now = ((code or "").partition("-")[0] for code in (known.earlier, known.code))
    return "" if before == now else before
