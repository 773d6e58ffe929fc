"""Own what crosses the durable boundary: a function's parameters, its result, an event's value; as JSON by their types.

The payload of a call is one JSON object of the function's named parameters. A value is first *lowered*: checked
against its annotation and turned into what msgspec encodes without surprises; then encoded. msgspec alone would encode
a dataclass from its `__dict__` (with cached properties, without fields that decoding left unset), NaN as null, and a
default only if it is the very same object. Decoding is msgspec's own, straight into the annotated types.

What arrives is what was passed, or it is refused where it is encoded: never another value. Between a body and its tasks
that goes for its class, too. What is enqueued or returned may be of a subclass of text, a number, a date, a dict or a
list, of which the equal plain value is stored: there it comes from libraries (numpy, Django) and is JSON to everybody
else, and a result that was refused would have been worked for in vain.
"""

from aiki.payload.annotations import Json
from aiki.payload.parameters import Parameters
from aiki.payload.result import Result
from aiki.payload.value import Value

__all__ = ["Json", "Parameters", "Result", "Value"]
