"""`aiki run list --roots | --parent`, `run show --tree`: the family of a run, on a screen and in a script."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tests.families import adopt

LATER = ("--delay", "1h")


@pytest.fixture
def ours(aiki, start, namespace):
    """Run `aiki` in a namespace of the test's own, where nobody serves the flows any more."""
    own = {"AIKI_NAMESPACE": namespace}
    known = start("worker", "start", "-m", "flows", env=own)
    known.wait_for_log("serves")
    known.close()
    return partial(aiki, env=own)


def enqueued(ours, count: int, *more: str) -> list[str]:
    rows = "{}\n" * count
    return ours("enqueue", "hello", *LATER, *more, "--from", "-", "-o", "ids", stdin=rows).lines


def test_roots_and_children_are_listed_and_counted_by_all_that_lists_go_by(ours, aikid):
    (parent,) = enqueued(ours, 1)
    children = enqueued(ours, 3, "--label", "city=Łódź", "--label", "team=a")
    others = enqueued(ours, 2, "--label", "team=a")
    ours("run", "pause", children[0])
    asyncio.run(adopt(aikid.database_url, parent, *children))
    listed = partial(ours, "run", "list", "-o", "ids")
    assert set(listed("--roots").lines) == {parent, *others}
    assert set(listed("--parent", parent).lines) == set(children)
    assert listed("--parent", parent, "--state", "paused").lines == [children[0]]
    assert set(listed("--parent", parent[-12:], "--label", "city=Łódź", "--label", "team=a").lines) == set(children)
    assert listed("--parent", parent, "--label", "team=b").lines == []
    assert listed("--roots", "--label", "team=a", "--limit", "1").lines == [others[-1]]
    for asked, count in (("--roots",), 3), (("--parent", parent, "--state", "paused"), 1), (("--label", "team=a"), 5):
        assert ours("run", "list", "--count", *asked).lines == [str(count)]
        assert ours("run", "list", "--count", *asked, "-o", "json").json == {"runs": count, "capped": False}
    both = ours("run", "list", "--roots", "--parent", parent)
    assert (both.code, "not both" in both.err) == (2, True)
    assert ours("run", "list", "--parent", "0" * 12).code == 5


def test_the_family_of_a_run_stands_in_its_status_and_in_a_tree(ours, aikid):
    (root,) = enqueued(ours, 1)
    (middle,) = enqueued(ours, 1)
    leaves = enqueued(ours, 22)
    asyncio.run(adopt(aikid.database_url, root, middle))
    asyncio.run(adopt(aikid.database_url, middle, *leaves))
    page = ours("status", middle, "-o", "table").out
    assert (f"child of  {root}" in page, "children  22" in page) == (True, True)
    assert f"{middle}, 2 levels below its root" in ours("run", "show", leaves[0], "-o", "table").out
    one = ours("status", middle, "-o", "json").json
    assert (one["parent_id"], one["depth"], one["children"]) == (root, 1, 22)
    tree = ours("run", "show", root, "--tree", "-o", "table").lines
    assert (root in tree[0], middle in tree[1], "earlier: 2 scheduled" in tree[2], len(tree)) == (True, True, True, 23)
    (below,) = ours("run", "show", root, "--tree", "-o", "json").json["family"]
    assert [leaf["id"] for leaf in below["family"]] == leaves[2:]
    assert below["earlier"] == {"scheduled": {"runs": 2, "capped": False}}
    assert ours("run", "show", root, "--tree", "-o", "ids").lines == [root, middle, *leaves[2:]]
