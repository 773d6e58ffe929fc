"""Own what one word is that TAB may offer, as a value and as a line of text. Pure."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from typing import Final

DAEMON: Final = "daemon"
FILES: Final = "files"
"""Who says it; where the files say something, no daemon need answer."""
_FIELDS: Final = 6
_DIGITS: Final = 12


class Entry:
    """One word that is known: of what kind it is, to what it belongs, and when what it names came to be."""

    __slots__ = ("about", "at", "kind", "of", "version", "word")

    def __init__(self, kind: str, word: str, about: str = "", of: str = "", version: str = "", at: float = 0) -> None:
        self.kind = kind
        self.word = word
        self.about = about
        self.of = of
        self.version = version
        self.at = at

    def line(self) -> str:
        """Return the entry as a line of text."""
        fields = (self.kind, self.word, self.about, self.of, self.version, str(int(self.at)))
        return "\t".join(" ".join(field.split()) for field in fields)

    @classmethod
    def of_line(cls, line: str) -> Entry | None:
        """Return the entry that a line says; None if it is no such line, whoever has written it."""
        fields = line.split("\t")
        if len(fields) != _FIELDS or len(fields[-1]) > _DIGITS or not (fields[-1].isascii() and fields[-1].isdecimal()):
            return None
        kind, word, about, of, version, at = fields
        return cls(kind, word, about, of, version, float(at))
