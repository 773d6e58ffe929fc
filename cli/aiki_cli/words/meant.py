"""Own which command is meant by words that name none: `runs list`, `list run`, `cancel RUN`, `terminate RUN`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from aiki.core.near import nearest
from aiki_cli.tree import COMMANDS, Group, paths
from aiki_cli.words.references import is_reference
from aiki_cli.words.synonyms import NOUNS, PHRASES, VERBS

_FOUND: Final[Mapping[str, Group]] = {name: one for name, one in COMMANDS.items() if isinstance(one, Group)}
_GROUPS: Final[Mapping[str, Group]] = {"run": _FOUND["run"], **_FOUND}
"""The nouns. A verb without one is of the first that has it: of runs, if they have it."""
_ALONE: Final = tuple(name for name in COMMANDS if name not in _GROUPS)
_OF_ITS_NOUN: Final = frozenset({"list", "show", "create", "delete"})
"""Verbs that mean something else of another noun."""
_LONGEST: Final = 2
"""Words of a phrase."""

Meant: TypeAlias = tuple[Sequence[str], Sequence[str]]
"""The words of a command, and those behind it."""


def meant_by(words: Sequence[str]) -> Meant | None:
    """Return the command that is meant, and the words behind it as they are; None if no guess is close.

    The first of `words` name no command of ours: a group at most.
    """
    if not words:
        return None
    for guess in (_phrase, _noun_and_verb, _verb_alone, _noun_alone, _close, _workflow):
        if (meant := guess(words)) is not None:
            return meant
    return None


def _phrase(words: Sequence[str]) -> Meant | None:
    for length in range(min(_LONGEST, len(words)), 0, -1):
        found = PHRASES.get(" ".join(map(_form, words[:length])))
        if found is not None and _is_there(found):
            return found.split(), words[length:]
    return None


def _noun_and_verb(words: Sequence[str]) -> Meant | None:
    """Return `run list` for `runs list`, `jobs ls` and `list run`; `wait` for `run wait`."""
    for noun, verb in (words[:2], words[1::-1]) if len(words) > 1 else ():
        group = _noun(noun)
        if group is not None and (meant := _with(group, verb)):
            return meant, words[2:]
    return None


def _with(group: str, verb: str) -> list[str] | None:
    """Return the command that is meant by a noun and a verb: of the noun, if it has one like it."""
    if known := _verb(verb, _GROUPS[group].commands):
        return [group, known]
    if known := _verb(verb, _ALONE):
        return [known]
    return None if VERBS.get(_form(verb), _form(verb)) in _OF_ITS_NOUN else _group_with(verb)


def _verb_alone(words: Sequence[str]) -> Meant | None:
    """Return `run cancel RUN` for `cancel RUN`, `event send` for `send`."""
    if words[0] in _GROUPS:
        return None
    known = _verb(words[0], _ALONE)
    meant = _group_with(words[0]) if known is None else [known]
    return None if meant is None else (meant, words[1:])


def _noun_alone(words: Sequence[str]) -> Meant | None:
    """Return `schedule list` for `schedules`, and `schedule show nightly` for `schedules nightly`."""
    group = _noun(words[0])
    if group is None or words[0] == group:
        return None
    verb = "list" if len(words) == 1 or words[1].startswith("-") else "show"
    return [group, verb] if verb in _GROUPS[group].commands else [group], words[1:]


def _close(words: Sequence[str]) -> Meant | None:
    """Return what differs by a letter or two: a verb of a group, a command, or the verb of any group."""
    first, *rest = words
    if (group := first if first in _GROUPS else nearest(first, _GROUPS)) and rest:
        verb = nearest(rest[0], _GROUPS[group].commands)
        if verb is not None or first in _GROUPS:
            return None if verb is None else ([group, verb], rest[1:])
    if path := nearest(first, paths()):
        return path.split(), rest
    verbs = {verb: group for group, one in reversed([*_GROUPS.items()]) for verb in one.commands}
    verb = nearest(first, verbs)
    if verb is None:
        return None
    group = nearest(rest[0], _GROUPS) if rest else None
    return ([group, verb], rest[1:]) if group and verb in _GROUPS[group].commands else ([verbs[verb], verb], rest)


def _workflow(words: Sequence[str]) -> Meant | None:
    """Return what was meant by `run`, which is a noun with us: `enqueue hello` by `run hello`, `run show` of an id."""
    if words[0] != "run" or len(words) < 2 or words[1].startswith("-"):
        return None
    return ["run", "show"] if is_reference(words[1]) else ["enqueue"], words[1:]


def _noun(word: str) -> str | None:
    """Return our word for a noun, also for its plural and for what others call it."""
    form = _form(word)
    for one in (form, form.removesuffix("s")):
        if (found := NOUNS.get(one, one)) in _GROUPS:
            return found
    return None


def _verb(word: str, known: Iterable[str]) -> str | None:
    """Return our word for a verb, if it is known."""
    form, names = _form(word), set(known)
    return next((one for one in (form, VERBS.get(form)) if one in names), None)


def _group_with(verb: str) -> list[str] | None:
    """Return the first noun that has the verb, with it."""
    for group, one in _GROUPS.items():
        if known := _verb(verb, one.commands):
            return [group, known]
    return None


def _is_there(command: str) -> bool:
    """Tell whether a command of the table is one of ours, or of the daemon's; options may follow it."""
    name = command.partition(" -")[0]
    return name.startswith(("-", "aikid ")) or name in paths()


def _form(word: str) -> str:
    return word.casefold().replace("_", "-")
