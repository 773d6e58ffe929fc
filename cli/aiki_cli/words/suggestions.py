"""Own the kinds of words that TAB knows more of: an option or argument names one as its `autocompletion`.

They stand in the grammar of TAB (`tab/grammar.py`), which is made from the commands; Typer itself asks them nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


def kind(name: str) -> Callable[[], list[str]]:
    """Return what stands for a kind of word: a function that has its name, since Typer takes no less."""

    def offered() -> list[str]:
        return []

    offered.__name__ = name
    return offered


def one_of(*words: str) -> Callable[[], list[str]]:
    """Return the kind of which these are all words that there are."""
    return kind(f"words:{' '.join(words)}")


workflow_names: Final = kind("workflows")
runs: Final = kind("runs")
"""Ids, the newest first."""
schedules: Final = kind("schedules")
payload_members: Final = kind("members")
"""Of the workflow that is named before: `name=`, `order.cents:=`."""
event_words: Final = kind("event")
"""Runs, then the name of an event, then members of what it carries."""
modules: Final = kind("modules")
"""What `-m` names."""
profiles: Final = kind("profiles")
states: Final = kind("states")
columns: Final = kind("columns")
"""Of what the command shows as TSV."""
files: Final = kind("files")
