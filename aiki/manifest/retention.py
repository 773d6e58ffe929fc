"""Own how the manifest says how long ended runs are kept: one period, or one for each way in which a run can end."""

from __future__ import annotations

from aiki.core.errors import UsageError
from aiki.core.retention import ENDS, Periods, read
from aiki.manifest import fields
from aiki.manifest.document import Mapping, Node
from aiki.manifest.fields import Fields


def retention(node: Node) -> Periods:
    """Return the periods. Raises ConfigError at a mistake."""
    try:
        if not isinstance(node, Mapping):
            return read(fields.text(node))
        given = Fields(node, *ENDS, what="`retention`")
        return read({name: given.required(name, fields.text) for name in ENDS if name in given})
    except UsageError as error:
        node.place.refuse(f"a `retention` that makes no sense: {error.message}", hint=error.hint)
