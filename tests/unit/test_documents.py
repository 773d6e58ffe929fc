"""What the documents say of files is true: each that they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "ARCHITECTURE.md")
ROOMS = ("", "aiki", "daemon/aikid", "cli/aiki_cli", "tests/unit", "tests/integration")
"""What the paths of documents are relative to: the project, or a room that the text is about."""
TOPS = ("aiki/", "bench/", "cli/", "completions/", "daemon/", "examples/", "tests/")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*/[\w-]+\.(?:bash|fish|lock|md|py|sql|toml|yaml)")
FOLDER = re.compile(rf"(?:{'|'.join(TOPS)})[\w/-]*")
TEST = re.compile(r"test_\w+\.py")
"""A test beside one that has been named in full."""


def named_in(text: str) -> set[str]:
    """Return what a document names between backticks, or links to, that looks like a file or folder of this project."""
    prose = FENCE.sub("", text)
    words = {*re.findall(r"`([^`\n]+)`", prose), *re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose)}
    return {word for word in words if FILE.fullmatch(word) or FOLDER.fullmatch(word) or TEST.fullmatch(word)}


def is_there(name: str) -> bool:
    if TEST.fullmatch(name):
        return any((ROOT / "tests").rglob(name))
    return any((ROOT / room / name).exists() for room in ROOMS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_file_that_a_document_names_is_there(document: str) -> None:
    names = named_in((ROOT / document).read_text())
    assert names, "the document names no file: is it read rightly?"
    assert {name for name in names if not is_there(name)} == set()


def test_what_looks_like_a_file_is_found_in_a_text() -> None:
    text = "See `aiki/core/keys.py`, [`tests/chaos`](tests/chaos), `store/record.py`, `test_batch.py` and `tests/`.\n"
    code = "```python\n`aiki/no.py`\n```\n"
    others = "`aiki.v1.<namespace>.>`, `.aiki/`, `shop.py`, `n/a`, `run.now()`, [a page](https://example.org/a.md)\n"
    assert named_in(text + code + others) == {
        "aiki/core/keys.py",
        "tests/chaos",
        "store/record.py",
        "test_batch.py",
        "tests/",
    }
