"""`aiki run list --roots | --parent`, `run show --tree`: the family of a run, on a screen and in a script."""

from __future__ import annotations

from functools import partial

import pytest

from tests.waiting import wait_until_sync

LEAVES = 22
"""More than a tree shows of one run's children."""


@pytest.fixture
def ours(aiki, own):
    """Run `aiki` in a namespace of the test's own."""
    return partial(aiki, env=own)


def grown(ours, gate: str, leaves: int) -> tuple[str, str, list[str]]:
    """Return a root, its child, and the children of that, which wait for a file, the first started first."""
    root = ours("enqueue", "tree", f"gate={gate}", f"leaves:={leaves}").lines[0]
    (branch,) = wait_until_sync(lambda: ours("run", "list", "--parent", root, "-o", "ids").lines)

    def have_begun() -> list[str]:
        found = ours("run", "list", "--parent", branch, "--state", "running", "-o", "ids").lines
        return found[::-1] if len(found) == leaves else []

    return root, branch, wait_until_sync(have_begun)


def test_roots_and_children_are_listed_and_counted_by_all_that_lists_go_by(ours, flows):
    root, branch, leaves = grown(ours, str(flows / "gate"), 3)
    other = ours("enqueue", "sleeper", "--label", "team=a").lines[0]
    labels = ("--label", "city=Łódź", "--label", "team=a")
    listed = partial(ours, "run", "list", "-o", "ids")
    assert listed("--roots").lines == [other, root]
    assert listed("--parent", branch, *labels).lines == leaves[::-1]
    assert listed("--parent", branch[-12:], "--state", "running", "--limit", "2").lines == leaves[:0:-1]
    assert listed("--parent", branch, "--label", "team=b").lines == []
    assert set(listed(*labels).lines) == {*leaves}
    assert listed("--roots", "--label", "team=a").lines == [other]
    for asked, count in (("--roots",), 2), (("--parent", branch, *labels), 3), (("--label", "team=a"), 4):
        assert ours("run", "list", "--count", *asked).lines == [str(count)]
    assert ours("run", "list", "--count", "-o", "json").json == {"runs": 6, "capped": False}
    both = ours("run", "list", "--roots", "--parent", root)
    assert (both.code, "--roots" in both.err) == (2, True)
    assert ours("run", "list", "--parent", "0" * 12).code == 5


def test_the_family_of_a_run_stands_in_its_status_in_a_tree_and_in_its_story(ours, flows):
    root, branch, leaves = grown(ours, str(gate := flows / "gate"), LEAVES)
    page = ours("status", branch, "-o", "table").out
    assert (f"child of  {root}" in page, f"children  {LEAVES}" in page) == (True, True)
    assert f"{branch}, 2 levels below its root" in ours("run", "show", leaves[0], "-o", "table").out
    one = ours("status", branch, "-o", "json").json
    assert (one["parent_id"], one["depth"], one["children"], one["priority"]) == (root, 1, LEAVES, 5)
    tree = ours("run", "show", root, "--tree", "-o", "table").lines
    assert (root in tree[0], branch in tree[1], "earlier: 2 running" in tree[2], len(tree)) == (True, True, True, 23)
    (below,) = ours("run", "show", root, "--tree", "-o", "json").json["family"]
    assert [leaf["id"] for leaf in below["family"]] == leaves[2:]
    assert below["earlier"] == {"running": {"runs": 2, "capped": False}}
    assert ours("run", "show", root, "--tree", "-o", "ids").lines == [root, branch, *leaves[2:]]
    gate.touch()
    assert ours("wait", root).lines == [str(LEAVES - 1)]
    story = ours("run", "history", branch, "-o", "table").out
    assert f"leaf {leaves[0]}, leaf {leaves[1]}, leaf {leaves[2]}, and 19 more" in story
    assert f"leaf {leaves[0]}  ✗ failed" in story
    ends = [line["children"] for line in ours("run", "history", branch, "-o", "json").json["history"]]
    ended = [(child["id"], child["state"]) for line in ends for child in line if child["what"] == "ended"]
    assert ended == [(leaf, "completed" if number else "failed") for number, leaf in enumerate(leaves)]
