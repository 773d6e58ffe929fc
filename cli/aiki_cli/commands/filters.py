"""Own how runs are meant by what they are: the options that say it, the same for lists and for orders.

Some lead to the runs: an index has them, and a million others cost nothing. The others refine what was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aiki import UsageError
from aiki_cli.words import payload, suggestions
from aiki_cli.words.references import find_all
from aiki_cli.words.states import states_of
from aiki_cli.words.times import when

if TYPE_CHECKING:
    from aiki import Client, RunFilter, State

LEADS: Final = "Which runs, found at once among millions"
REFINES: Final = "Which of these, looked for in 10,000 at a time"
_ANY: Final = "*"
"""Ends the beginning of a key."""

Workflow = Annotated[
    str | None,
    typer.Option("--workflow", metavar="NAME", autocompletion=suggestions.workflow_names, rich_help_panel=LEADS),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state", help="One of several: may repeat.", autocompletion=suggestions.states, rich_help_panel=LEADS
    ),
]
Version = Annotated[
    str | None, typer.Option("--version", metavar="V", help="Of this version of the workflow.", rich_help_panel=LEADS)
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=TEXT", help="May repeat; all must match.", rich_help_panel=LEADS),
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY|KEY*", help="That hold this idempotency key.", rich_help_panel=LEADS),
]
KeyPrefix = Annotated[
    str | None,
    typer.Option("--key-prefix", metavar="TEXT", help="Whose key begins so; by their keys.", rich_help_panel=LEADS),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="1h|TIME", help="Enqueued then, or so long ago, or later.", rich_help_panel=LEADS),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until", "--older-than", metavar="1h|TIME", help="Enqueued before then, or longer ago.", rich_help_panel=LEADS
    ),
]
Parent = Annotated[
    str | None,
    typer.Option(
        "--parent",
        metavar="RUN",
        help="The children of this run.",
        autocompletion=suggestions.runs,
        rich_help_panel=LEADS,
    ),
]
Roots = Annotated[
    bool, typer.Option("--roots", help="That no other run has started.", show_default=False, rich_help_panel=LEADS)
]
ErrorType = Annotated[
    str | None,
    typer.Option(
        "--error", metavar="TYPE", help="That, or a task of which, failed by this type.", rich_help_panel=REFINES
    ),
]
Worker = Annotated[
    str | None,
    typer.Option("--worker", metavar="NAME", help="That a worker of this name has run.", rich_help_panel=REFINES),
]
Priority = Annotated[int | None, typer.Option("--priority", metavar="N", rich_help_panel=REFINES)]


@dataclass(frozen=True)
class Filter:
    """What was typed of runs, but for their keys."""

    state: States = None
    workflow: Workflow = None
    version: Version = None
    key_prefix: KeyPrefix = None
    label: Labels = None
    since: Since = None
    until: Until = None
    parent: Parent = None
    roots: Roots = False
    error: ErrorType = None
    worker: Worker = None
    priority: Priority = None

    def is_meant(self, references: Iterable[str], *, command: str) -> bool:
        """Tell whether runs are meant by what they are, and not by `references`. Raises UsageError if both, or none."""
        self.check()
        is_given = any(getattr(self, field.name) not in (None, False, []) for field in fields(self))
        if is_given and references:
            raise UsageError("name runs, or filter them: not both", hint=command)
        if not is_given and not references:
            raise UsageError("no run is named", hint=command)
        return is_given

    async def runs(self, client: Client, otherwise: Iterable[State] = ()) -> RunFilter:
        """Return the runs that are meant; `otherwise` are their states, if none is given. Raises NotFound."""
        from aiki import RunFilter

        return RunFilter(
            states=states_of(self.state or ()) or list(otherwise),
            workflow=self.workflow,
            version=self.version,
            labels=payload.labels_of(self.label or ()),
            key_prefix=self.key_prefix,
            since=when(self.since, "--since"),
            before=when(self.until, "--until"),
            roots=self.roots,
            parent=None if self.parent is None else await _parent(client, self.parent),
            error=self.error,
            worker=self.worker,
            priority=self.priority,
        )

    def check(self) -> None:
        """Raise UsageError for what no run can be, before anything is asked."""
        states_of(self.state or ())
        payload.labels_of(self.label or ())
        since, until = when(self.since, "--since"), when(self.until, "--until")
        if since is not None and until is not None and since >= until:
            raise UsageError("--since is not before --until: no run is within")
        if self.version is not None and self.workflow is None:
            raise UsageError("--version is that of a workflow: which?", hint="--workflow NAME --version V")
        if self.roots and self.parent is not None:
            raise UsageError("--roots are runs that have no parent: ask for them, or for the children of --parent")


@dataclass(frozen=True)
class KeyedFilter(Filter):
    """What was typed of runs."""

    key: Key = None

    def check(self) -> None:
        """Raise UsageError for what no run can be, as `Filter.check`."""
        super().check()
        if self.key is not None and self.key_prefix is not None:
            raise UsageError("--key is a whole key, or as KEY* its beginning, and so is --key-prefix: one of both")

    async def runs(self, client: Client, otherwise: Iterable[State] = ()) -> RunFilter:
        """Return the runs that are meant, as `Filter.runs`."""
        wanted = await super().runs(client, otherwise)
        if self.key is None:
            return wanted
        if self.key.endswith(_ANY):
            return replace(wanted, key_prefix=self.key.removesuffix(_ANY))
        return replace(wanted, key=self.key)


EVERY: Final = KeyedFilter()
UNKEYED: Final = Filter()


async def _parent(client: Client, reference: str) -> str:
    (run_id,) = await find_all(client, [reference])
    return run_id
