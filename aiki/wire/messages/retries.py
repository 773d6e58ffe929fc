"""Own the messages of retries: what a person orders, what comes of it, and what it leaves in a journal."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct

from aiki.core.states import State
from aiki.wire.limits import LIST_ITEMS, RETRIED_RUNS
from aiki.wire.messages.base import NONE, Request, Text

_WORDS: Final = {
    "unfit": "is {state}: only a run that failed or was cancelled can be retried",
    "done": "has completed {names} since the place that it would go on from: no retry takes that back",
    "once": "may not begin {names} twice: whether that took effect is unknown",
    "no_task": "has come to no end of a task {names!r}",
    "busy": "is still being cancelled: retry when it has ended",
    "foreign": "is {state}, and was not started by the run that waits for it: retry that first",
    "large": "has too large a family: retry its children first",
    "unreadable": "has a journal that no retry can read: enqueue it anew",
    "other": "is one of workflow {names}: an input of another is none for it",
    "unknown": "does not exist",
    "imported": "was imported, to be looked at: nothing moves it, and it obeys no order",
}


class Retried(Struct, omit_defaults=True):
    """The value of an entry `retry:ATTEMPT`: what a journal says from the cut on up to this entry counts no more.

    `cut` is how many of the entries that counted before stay; the call whose entry was the next, `key`, is made anew.
    """

    cut: int
    attempt: int
    """That begins with it; all before it was of the one before, or of those that earlier retries began."""
    at: int
    idle: int = 0
    """Microseconds between what stood at the cut, or the last entry before it, and the retry."""
    key: str = ""
    run_id: str = ""
    """The run that goes on with it: a new one if a person has ordered it."""
    of: str = ""
    """The run that it is a retry of."""
    keep: list[str] = []
    """Tasks whose results are kept that were asked for behind the cut."""


class Redone(Struct, omit_defaults=True):
    """What has come of the retry of a run: `run_id` and `state` are those of the run that goes on in its place.

    That is a new one (`retried`), or the newest there is already (`found`). Or there is none: `state` is that of a run
    that is not to be retried (`unfit`); behind the cut the tasks of `names` and the `children` have completed (`done`),
    those of `names` may not begin twice (`once`), the run holds no such task (`no_task`), a child is being cancelled
    (`busy`), a run that it waits for and has not started has failed (`foreign`), its family is too large (`large`), the
    input is one of another workflow (`other`), a journal cannot be read, it was `imported`, or there is no such run.
    `run_id` is then the run down the family that this is said of.
    """

    result: Literal[
        "retried",
        "found",
        "unfit",
        "done",
        "once",
        "no_task",
        "busy",
        "foreign",
        "large",
        "other",
        "unreadable",
        "unknown",
        "imported",
    ]
    run_id: str = ""
    state: State | None = None
    names: list[str] = []
    children: list[str] = []

    def words(self) -> str:
        """Return in words why nothing is retried; "" if it is."""
        names = ", ".join([*self.names, *(f"child {run_id}" for run_id in self.children)])
        said = _WORDS.get(self.result, "").format(state=self.state, names=names)
        return said and f"run {self.run_id} {said}"


class RetryReply(Struct):
    """One Redone per id, in order."""

    outcomes: list[Redone]


class Retry(Request[RetryReply]):
    """Have runs that failed or were cancelled go on, each in a new run of the same origin. Idempotent: one a run.

    It goes on from where it failed, from the first call of `task`, or with `start` from its beginning, in a new
    generation, and with `input` if that is another. `keep` are tasks whose results stay though the retry undoes what
    led to them, `again` those that may begin once more though they may not twice; with `force` nothing is looked at.
    """

    op = "retry"
    reply = RetryReply
    ids: Annotated[list[Text], Meta(max_length=RETRIED_RUNS)]
    actor: Text | None = None
    task: Text | None = None
    start: bool = False
    input: Raw = NONE
    workflow: Text | None = None
    """Whose the input is."""
    keep: Annotated[list[Text], Meta(max_length=LIST_ITEMS)] = []
    again: Annotated[list[Text], Meta(max_length=LIST_ITEMS)] = []
    force: bool = False
