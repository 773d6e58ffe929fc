"""`aiki wait`: until runs end. The result of a run that is named is printed; several get one line each."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from aiki import AikiError, NotFound, UsageError, WaitTimeout
from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands.detaching import CancelOnInterrupt, cancel_with, going
from aiki_cli.commands.status_watch import SEEN_RUNS, views
from aiki_cli.session import Session
from aiki_cli.words import payload, suggestions
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client, RunFilter
    from aiki_cli.running import Later
    from aiki_cli.view.found import Found, Lines, Watched
    from aiki_cli.view.outcomes import Outcome


@options.command
def wait(
    session: Session,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="10m", help="Give up waiting; exit code 124.")
    ] = None,
    any: Annotated[bool, typer.Option("--any", help="Return when the first has ended.")] = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    source: Annotated[
        str | None, typer.Option("--from", metavar="FILE|-", help="Runs, one per line: ids, or what enqueue printed.")
    ] = None,
    workflow: bulk.Workflow = None,
    state: bulk.States = None,
    label: bulk.Labels = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="1h", help="Enqueued at most so long ago.", rich_help_panel=bulk.MANY),
    ] = None,
) -> Later:
    """Wait until runs have ended; the exit code tells how.

    0 completed, 1 failed, 3 cancelled, 4 failed by its own timeout, 7 blocked or paused (at once), 124 timeout; of
    several runs the highest, and 5 if there is none.

    Runs are named, or read by --from, or meant by what they are: then those that are there when it begins, in any
    state, also the ended ones. TSV columns of several: id, outcome, result or error.
    """
    from aiki.manifest import seconds as seconds_of

    seconds = None if timeout is None else seconds_of(timeout)
    wanted = _filter(workflow, state or (), payload.labels_of(label or ()), since)
    given = [references, source is not None, wanted]
    if sum(map(bool, given)) != 1:
        raise UsageError(
            "name runs, read them with --from, or filter them: one of these",
            hint="aiki wait RUN" if not sum(map(bool, given)) else "aiki wait --help",
        )
    if source is not None:
        from aiki_cli.words.run_lines import read_runs

        references = read_runs(source, session.out.say)
    session.cancels_on_interrupt = cancel_on_interrupt
    return partial(_wait, session, references or (), wanted, source=source, seconds=seconds, first_only=any)


def _filter(
    workflow: str | None, states: Sequence[str], labels: Mapping[str, str], since: str | None
) -> RunFilter | None:
    """Return the runs that are meant by what they are; None if nothing is said of them."""
    if not any((workflow, states, labels, since)):
        return None
    from aiki import RunFilter, State
    from aiki_cli.words.states import states_of
    from aiki_cli.words.times import ago

    wanted = states_of(states) or list(State)
    return RunFilter(workflow=workflow, states=wanted, labels=labels, since=ago(since))


async def _wait(
    session: Session,
    references: Sequence[str],
    wanted: RunFilter | None,
    *,
    source: str | None,
    seconds: float | None,
    first_only: bool,
) -> Found:
    client = await session.client()
    if wanted is not None:
        async with aclosing(client.runs.matching(wanted)) as found:
            run_ids = [run_id async for ids in found for run_id in ids]
    else:
        run_ids = await find_all(client, references)
    if not run_ids:
        where = "matches" if source is None else f"stands in {source}"
        raise NotFound(f"no run {where}, so there is nothing to wait for", hint="aiki run list")
    is_alone = wanted is None and source is None and len(set(run_ids)) == 1
    session.note_on_interrupt = f"nothing was cancelled; wait again: {shlex.join(['aiki', *sys.argv[1:]])}"
    return wait_for(session, client, run_ids, seconds=seconds, first_only=first_only, alone=is_alone)


def wait_for(
    session: Session,
    client: Client,
    run_ids: Sequence[str],
    *,
    seconds: float | None,
    first_only: bool = False,
    alone: bool = True,
) -> Lines[Outcome]:
    """Return what comes of the runs, as it comes; the exit code is the highest. Of one that is `alone` the result."""
    from aiki_cli.commands.waiting import outcomes
    from aiki_cli.view.found import Lines
    from aiki_cli.view.outcomes import Tally, line

    tally = Tally(len(set(run_ids)), alone=alone)
    left = going(run_ids)
    cancel_with(session, client, left)

    async def ended() -> AsyncGenerator[Outcome, None]:
        async with aclosing(outcomes(client, run_ids, seconds=seconds)) as coming:
            async for run_id, result in coming:
                if alone:
                    await _told_of_retry(session, client, run_id, result)
                tally.add(run_id, result)
                left.pop(run_id)
                yield run_id, result
                if first_only or session.out.gone:
                    break

    is_seen = len(run_ids) <= SEEN_RUNS
    return Lines(
        ended(),
        partial(line, alone=alone),
        end=tally.end,
        named=None if alone else "runs",
        watched=_watched(client, run_ids, left, alone=alone) if is_seen else None,
        total=None if is_seen else len(set(run_ids)),
        doing="wait",
        unit="runs",
    )


def _watched(client: Client, run_ids: Sequence[str], left: Collection[str], *, alone: bool) -> Watched[Outcome]:
    """Return what is shown of runs that are waited for; it is about to end where none of them is left."""
    from aiki_cli.view.found import Watched
    from aiki_cli.view.run_board import RunBoard

    def has_ended(outcome: Outcome) -> bool:
        return not left and not isinstance(outcome[1], WaitTimeout)

    wanted = list(dict.fromkeys(run_ids))
    return Watched(RunBoard(wanted), partial(views, client, wanted), has_ended, stays_above=alone)


async def _told_of_retry(session: Session, client: Client, run_id: str, result: object) -> None:
    """Say of which run a result is, if another went on in the place of this one. Raises NotFound if there is none."""
    if isinstance(result, NotFound):
        raise result
    if isinstance(result, AikiError) or not session.out.talkative:
        return
    if (run := await client.handle(run_id).status()).retry_of is not None:
        session.out.say(f"run {run_id} was retried; this is of {run.run_id}")
