"""Own `${VAR}` and `${VAR:-default}`: text whose value is known only when it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiki.core.addresses import shown
from aiki.manifest.document import Place, Scalar

_REFERENCE: Final = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}")


@dataclass(frozen=True)
class Template:
    """Text with references to environment variables, not expanded yet."""

    place: Place
    text: str

    @classmethod
    def of(cls, scalar: Scalar) -> Template:
        """Return the template in `scalar`. Raises ConfigError if a `${` is not a reference."""
        if "${" in _REFERENCE.sub("", scalar.text):
            text = shown(scalar.text)
            scalar.place.refuse(f"`{text}` has an unfinished reference, and expected ${{VAR}} or ${{VAR:-default}}")
        return cls(scalar.place, scalar.text)

    def expand(self, environment: Mapping[str, str]) -> str:
        """Return the text with its references replaced.

        A default stands in for a variable that is unset or empty, as in a shell. Raises ConfigError if there is none.
        """
        return _REFERENCE.sub(lambda match: self._value(match, environment), self.text)

    def _value(self, match: re.Match[str], environment: Mapping[str, str]) -> str:
        value = environment.get(match["name"]) or match["default"]
        if value is None:
            self.place.refuse(
                f"the environment variable {match['name']} is not set, and {match[0]} has no default",
                hint=f"export {match['name']}=...",
            )
        return value
