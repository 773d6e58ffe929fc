"""Own what the words before a cursor mean, by the grammar: which command it is, and what belongs where the cursor is.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aiki_cli.tab.grammar import COLUMNS, COMMANDS, COMMON, PLACE, STATES

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from aiki_cli.tab.grammar import Option


class Typed:
    """What belongs where the cursor is, and what was typed before."""

    __slots__ = ("arguments", "before", "current", "kind", "offers", "values")

    def __init__(self, current: str) -> None:
        self.current = current
        self.before = ""
        """What of the current word stands before what is offered, as in `--state=`."""
        self.kind = ""
        """Of the words that belong there; empty if nothing is known of them."""
        self.offers: list[tuple[str, str]] = []
        """Those of them that we know ourselves."""
        self.arguments: list[str] = []
        """The words before that are no options."""
        self.values: dict[str, str] = {}
        """The values of options, by the first of their names."""

    @property
    def place(self) -> dict[str, str]:
        """The options that say which daemon is meant."""
        return {name: value for name, value in self.values.items() if name in PLACE}


def typed(words: Sequence[str]) -> Typed:
    """Return what the last of the words may be, by those before it."""
    found = Typed(words[-1].lstrip("'\""))
    path, open_option, only_arguments = "", None, False
    for word in words[:-1]:
        if open_option:
            found.values[open_option[0][0]] = word
            open_option = None
        elif word == "--":
            only_arguments = True
        elif word.startswith("-") and len(word) > 1 and not only_arguments:
            open_option = _taken(word, found, path)
        elif not COMMANDS[path][2]:
            found.arguments.append(word)
        elif (path := f"{path} {word}".lstrip()) not in COMMANDS:
            return found  # of a command that is none nothing is known
    if open_option:
        _expect(found, open_option[1], path)
    elif found.current.startswith("-") and not only_arguments:
        _expect_option(found, path)
    else:
        _expect_word(found, path)
    return found


def _options(path: str) -> Iterator[Option]:
    """Yield the options of a command, its own first; those of all are overruled by them."""
    _, own, below, _ = COMMANDS[path]
    yield from own
    if not below or not path:
        names = {name for option in own for name in option[0]}
        yield from (option for option in COMMON if names.isdisjoint(option[0]))


def _taken(word: str, found: Typed, path: str) -> Option | None:
    """Take note of an option; return it if its value is the next word."""
    name, sign, value = word.partition("=")
    if not name.startswith("--"):
        name, sign, value = word[:2], word[2:], word[2:].removeprefix("=")
    option = next((one for one in _options(path) if name in one[0]), None)
    if option is None:
        return None
    if option[1] and not sign:
        return option
    found.values[option[0][0]] = value
    return None


def _expect_option(found: Typed, path: str) -> None:
    name, sign, _ = found.current.partition("=")
    options = list(_options(path))
    if sign and name.startswith("--"):
        kind = next((kind for names, kind, _ in options if name in names), "")
        found.before = f"{name}="
        _expect(found, kind, path)
        return
    found.kind = "options"
    for names, kind, about in options:
        if names[0] not in found.values or kind.endswith("+"):
            found.offers += [(name, about) for name in names if name.startswith("--") or len(found.current) == 1]


def _expect_word(found: Typed, path: str) -> None:
    _, _, below, arguments = COMMANDS[path]
    if below:
        found.kind = "commands"
        found.offers = [(name, COMMANDS[f"{path} {name}".lstrip()][0]) for name in below]
    elif len(found.arguments) < len(arguments):
        _expect(found, arguments[len(found.arguments)], path)
    elif arguments and arguments[-1].endswith("+"):
        _expect(found, arguments[-1], path)


def _expect(found: Typed, kind: str, path: str) -> None:
    """Take note of what kind of word belongs there; what comes behind a colon are the words themselves."""
    found.kind, _, words = kind.rstrip("+").partition(":")
    if found.kind in {"columns", "states"}:  # several of them, with commas between
        earlier, comma, _ = found.current[len(found.before) :].rpartition(",")
        found.before += earlier + comma
    of_commands = {"columns": COLUMNS.get(path, ()), "states": STATES}
    found.offers = [(word, "") for word in of_commands.get(found.kind, words.split())]
