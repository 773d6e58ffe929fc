"""Own the answer to a TAB: what may stand where the cursor is. It imports nothing but what is needed for that."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from time import time as now

from aiki_cli.tab.entries import DAEMON, FILES
from aiki_cli.tab.known import entries
from aiki_cli.tab.reading import Typed, typed

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from typing import Final

    from aiki_cli.tab.entries import Entry

SHELLS: Final = ("bash", "zsh", "fish")
ABOUT_CHARS: Final = 72
_SIGNS: Final = frozenset("_.+-@:=/,")
"""What may stand in a word beside letters and digits: nothing that any shell takes for more than itself."""

Offer = tuple[str, str]
"""What is inserted, and what it is."""


def answer(arguments: Sequence[str]) -> None:
    """Write what may stand in the place of the last word.

    The first line says what follows: `words`, an offer a line; or `files`, of which a shell has names of its own to
    offer, behind the text that stands beside it.
    """
    shell, words = arguments[0], arguments[1:]
    if shell not in SHELLS or not words:
        return
    found = typed(words)
    if found.kind == "files" or (found.kind == "payload" and found.current[len(found.before) :].startswith("@")):
        lines = [f"files {'@' if found.kind == 'payload' else ''}"]
    else:
        lines = ["words", *_lines(found, described=shell != "bash")]
    os.write(1, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def _lines(found: Typed, *, described: bool) -> Iterator[str]:
    """Yield the offers that go on with what is typed, each once; of a stranger's words those alone that are plain."""
    seen: set[str] = set()
    for word, about in found.offers or _known(found):
        whole = found.before + word
        if whole.startswith(found.current) and whole not in seen and (found.offers or _is_plain(word)):
            seen.add(whole)
            yield f"{whole}\t{_plain(about)[:ABOUT_CHARS]}" if described and about else whole


def _known(found: Typed) -> Iterable[Offer]:
    """Return what could stand there of what a daemon, or a manifest, has said."""
    offers = _OFFERS.get(found.kind)
    if offers is None:
        return ()
    whom = FILES if found.kind in {"modules", "profiles"} else DAEMON
    return offers(found, entries(found.place, whom))


def _workflows(found: Typed, entries: Sequence[Entry]) -> Iterable[Offer]:
    return [(one.word, one.about) for one in entries if one.kind == "workflow"]


def _runs(found: Typed, entries: Sequence[Entry]) -> Iterable[Offer]:
    moment = now()
    offers = [(one.word, f"{one.about}, {one.of}, {_age(moment - one.at)}") for one in entries if one.kind == "run"]
    if found.current.startswith("@"):
        offers.append(("@last", "the run that this terminal enqueued last"))
    return [offer for offer in offers if offer[0] not in found.arguments]


def _schedules(found: Typed, entries: Sequence[Entry]) -> Iterable[Offer]:
    return [(one.word, one.about) for one in entries if one.kind == "schedule" and one.word not in found.arguments]


def _profiles(found: Typed, entries: Sequence[Entry]) -> Iterable[Offer]:
    return [(one.word, one.about) for one in entries if one.kind == "profile"]


def _modules(found: Typed, entries: Sequence[Entry]) -> Iterable[Offer]:
    return [(one.word, one.about) for one in entries if one.kind == "module"]


def _members(found: Typed, entries: Sequence[Entry]) -> Iterable[Offer]:
    """Offer the members of the payload of the workflow that was named, in its version if that was named too."""
    named = [word for word in found.arguments if any(one.kind == "workflow" and one.word == word for one in entries)]
    workflow, version = (named or [""])[-1], found.values.get("--version")
    of = [one for one in entries if one.kind == "member" and one.of == workflow]
    versions = [version] if version else list(dict.fromkeys(one.version for one in of))[-1:]
    return _not_given([(one.word, one.about) for one in of if one.version in versions], found.arguments)


def _event(found: Typed, entries: Sequence[Entry]) -> Iterable[Offer]:
    """Offer runs, then the events that the named ones take, then what the named event may carry."""
    filtered = any(name in found.values for name in ("--workflow", "--state", "--label"))
    if not found.arguments and not filtered:
        return _runs(found, entries)
    events = [one for one in entries if one.kind == "event"]
    named = next((one.word for one in events if one.word in found.arguments), None)
    if named is not None:
        carried = [(one.word, one.about) for one in entries if one.kind == "carried" and one.of == named]
        return _not_given(carried, found.arguments)
    takers = {one.of for one in entries if one.kind == "run" and one.word in found.arguments}
    takers |= {word.partition("@")[0] for word in found.arguments if "@" in word} | {found.values.get("--workflow", "")}
    meant = [one for one in events if one.of in takers] or events
    return [(one.word, f"of {one.of}") for one in meant] + list(_runs(found, entries) if found.current else ())


_OFFERS: Final = {
    "workflows": _workflows,
    "runs": _runs,
    "schedules": _schedules,
    "profiles": _profiles,
    "modules": _modules,
    "members": _members,
    "event": _event,
}
"""What is offered of what is known, by the kind of the place."""


def _not_given(offers: Sequence[Offer], pairs: Sequence[str]) -> list[Offer]:
    """Return the offers without members that have a value already."""
    given = {pair.partition("=")[0].rstrip(":") for pair in pairs if "=" in pair}
    return [(word, about) for word, about in offers if word.rstrip(":=") not in given]


def _age(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit} ago"
    return f"{max(0, int(seconds))}s ago"


def _is_plain(word: str) -> bool:
    """Tell whether a word is itself to every shell, and no option of ours."""
    starts = word[:1].isalnum() or word[:1] in {"_", "@"}
    return starts and all(sign.isalnum() or sign in _SIGNS for sign in word)


def _plain(about: str) -> str:
    return "".join(sign if sign.isprintable() else "_" for sign in about)
