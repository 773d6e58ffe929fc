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
FAMILY = [
    "child",
    "child",
    "child",
    "childwithin",
    "childstarted",
    "childstarted",
    "childleft",
    "childspoken",
    "childstopped",
    "childtwice",
    "childkeyed",
    "childkeyed",
    "children",
    "children",
    "childrengathered",
]
"""Children: awaited, started, left behind, spoken to, cancelled, found by their keys, many at once."""
FAILING = ["shaky"] * 16
"""What fails by chance, and so has a run retried."""
RACY = CALM + RACES
TALKING = RACY + TALK * 2
FAMILIES = TALKING + FAMILY * 3 + FAILING
MEETING = FAMILIES + ["childkeyed"] * 100
KEYED = 3
"""How many keys there are that children are started by."""
KEYED_IDS = 1_000_000
"""From where on the ids of nodes in their programs are counted, for each."""
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
    if kind in FAMILY:
        return _parent(draw, kinds, depth, ids, Node(kind, id))
    return _made(draw, kind, id, lambda count: tuple(generate(draw, kinds, depth - 1, ids) for _ in range(count)))


def _made(draw: random.Random, kind: str, id: int, parts: Callable[[int], tuple[Node, ...]]) -> Node:
    match kind:
        case "call" | "callenv" | "yield" | "own" | "flaky" | "shaky":
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


def _parent(draw: random.Random, kinds: list[str], depth: int, ids: Iterator[int], node: Node) -> Node:
    """Return the node of a call that has children; its last part is what its own body does meanwhile."""
    narrow = draw.choice([TALKING + FAILING, TALKING, RACY, kinds])
    count = draw.randint(2, 4) if node.kind.startswith("children") else 1
    programs = [_seq(draw, narrow, depth - 1, ids, draw.randint(1, 2)) for _ in range(count)]
    meanwhile = generate(draw, kinds, depth - 1, ids)
    number = draw.randrange(KEYED) if node.kind == "childkeyed" else draw.choice([0.2, 1, 5, 20])
    return replace(node, number=number, parts=(*programs, meanwhile))


def _seq(draw: random.Random, kinds: list[str], depth: int, ids: Iterator[int], count: int) -> Node:
    return Node("seq", next(ids), 0, tuple(generate(draw, kinds, depth, ids) for _ in range(count)))


def keyed(number: int) -> Node:
    """Return the program of the child with one of the keys: the same whoever starts it.

    It may start itself, which is a circle, and those with higher numbers: so no two wait for each other.
    """
    draw, ids = random.Random(number), itertools.count(KEYED_IDS * (number + 1))
    return _upward(_seq(draw, TALKING + ["childkeyed"] * 20, 2, ids, 3), number)


def _upward(node: Node, least: int) -> Node:
    number = max(least, node.number) if node.kind == "childkeyed" else node.number
    return replace(node, number=number, parts=tuple(_upward(part, least) for part in node.parts))


def found(node: Node, id: int) -> Node | None:
    """Return the node with this id in a program, if it is there."""
    if node.id == id:
        return node
    return next((inner for part in node.parts if (inner := found(part, id)) is not None), None)


def program(draw: random.Random, kinds: list[str], width: int = 3, depth: int = 3) -> Node:
    ids = itertools.count(1)
    return Node("seq", 0, 0, tuple(generate(draw, kinds, depth, ids) for _ in range(draw.randint(1, width))))


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
