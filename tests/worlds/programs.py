"""Own random workflow bodies as data: trees of branches with races, timeouts and cancels, drawn from a seed.

Since they are data, they can be interpreted by one workflow, and changed under a run.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

CALM = (
    ["call"] * 6
    + ["callenv"] * 4
    + ["seq"] * 4
    + ["gather"] * 3
    + ["tg"] * 2
    + ["atg"] * 2
    + ["if"] * 3
    + ["try"] * 2
    + [
        "loop",
        "yield",
        "sleep",
        "event",
        "queue",
        "lock",
        "bg",
        "agen",
        "same",
        "flaky",
        "flaky",
        "patch",
        "own",
        "keyed",
    ]
)
RACES = [
    "first",
    "first",
    "firstleave",
    "completed",
    "listed",
    "walked",
    "scoped",
    "wait_for",
    "timeout",
    "moveon",
    "shield",
    "cancelsib",
    "spin",
    "failtg",
    "racevar",
    "fin",
    "until",
    "keyedrace",
]
TALK = [
    "hear",
    "hear",
    "hear",
    "heartimeout",
    "heartimeout",
    "hearcount",
    "hearany",
    "hearwithin",
    "hearlater",
    "tell",
    "tell",
    "tellself",
]
"""Waits for events and sends."""
UNTIMED = ("hear", "hearany", "hearlater", "tell", "tellself")
"""Those of them whose number is that of an event."""
RACY = CALM + RACES
TALKING = RACY + TALK * 2
LEAVES = ["call", "callenv", "call", "yield", "flaky"]
LEAVES_BY_KINDS = {False: LEAVES, True: [*LEAVES, "hear", "heartimeout"]}
"""What programs end in that know no events, and those that do."""
EVENTS = 3
"""How many names of events there are."""


@dataclass(frozen=True)
class Node:
    kind: str
    id: int
    number: float = 0
    parts: tuple[Node, ...] = ()


def generate(draw: random.Random, kinds: list[str], depth: int, ids: Iterator[int]) -> Node:
    kind = draw.choice(kinds) if depth > 0 else draw.choice(LEAVES_BY_KINDS["hear" in kinds])
    id = next(ids)

    def parts(count: int) -> tuple[Node, ...]:
        return tuple(generate(draw, kinds, depth - 1, ids) for _ in range(count))

    match kind:
        case "call" | "callenv" | "yield" | "own" | "flaky":
            return Node(kind, id, draw.randint(0, 10**6))
        case "same" | "keyed":
            return Node(kind, id, draw.randint(0, 2))
        case _ if kind in TALK:
            return Node(kind, id, draw.choice([0, 1, 2]) if kind in UNTIMED else draw.choice([0, 0.5, 1, 3, 8]))
        case "sleep" | "until":
            return Node(kind, id, draw.choice([0.01, 0.5, 3, 3, 20]))
        case "wait_for" | "timeout" | "moveon" | "shield":
            return Node(kind, id, draw.choice([0.2, 1, 2, 5]), parts(1))
        case "if" | "try" | "cancelsib" | "fin" | "bg" | "event" | "queue" | "lock" | "patch":
            return Node(kind, id, 0, parts(2))
        case "loop":
            return Node(kind, id, draw.randint(2, 3), parts(1))
        case "spin" | "agen" | "keyedrace":
            return Node(kind, id, draw.choice([0.2, 1]), parts(1))
        case _:
            return Node(kind, id, 0, parts(draw.randint(2, 3)))


def program(draw: random.Random, kinds: list[str], width: int = 3) -> Node:
    ids = itertools.count(1)
    return Node("seq", 0, 0, tuple(generate(draw, kinds, 3, ids) for _ in range(draw.randint(1, width))))


def calls_in(node: Node, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Return the paths of the plain calls."""
    found = [path] if node.kind in ("call", "callenv", "same") else []
    for index, part in enumerate(node.parts):
        found += calls_in(part, (*path, index))
    return found


def edited(node: Node, path: tuple[int, ...], edit: Callable[[Node], Node]) -> Node:
    """Return the program with the node at `path` replaced."""
    if not path:
        return edit(node)
    parts = list(node.parts)
    parts[path[0]] = edited(parts[path[0]], path[1:], edit)
    return replace(node, parts=tuple(parts))
