"""Own `aiki enqueue --from`: every row is read before the first is sent, then all go in batches, each accounted for.

A row with a key can be sent again without harm, so after a break the same command finishes the work. Whoever waits for
the runs waits once all are sent: a break in the waiting leaves no row behind.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiki import AikiError, PayloadError
from aiki_cli.session import Session
from aiki_cli.view import found as view
from aiki_cli.view.documents.enqueued import EnqueuedRow, RefusedRow
from aiki_cli.view.found import Found, Line, Lines
from aiki_cli.view.row_tally import Sent, Tally, listed
from aiki_cli.words.last import remember
from aiki_cli.words.rows import BadRow, Row, Rows, open_rows

if TYPE_CHECKING:
    from aiki import Client, Handle, NamedCall
    from aiki_cli.running import Later

BATCH_ROWS: Final = 2000


def enqueue_rows(
    session: Session,
    source: str,
    call: NamedCall,
    *,
    key_field: str | None,
    wait: bool = False,
    seconds: float | None = None,
) -> Later:
    """Read the rows of `source`, and return what enqueues `call` for each, with its payload and key.

    With `wait` it waits for their runs, for so many seconds if a number is given, and tells of each as it ends.
    Raises PayloadError, which names the lines, if a row is no payload; then nothing was sent.
    """
    rows = session.files.enter_context(open_rows(source, key_field=key_field))
    tally = Tally(_count(rows, source))

    async def send() -> Found:
        client = await session.client()
        if wait:
            from aiki_cli.commands.waited_rows import waited

            return waited(session, client, sent_rows(session, client, rows, tally, call), tally, seconds=seconds)
        return Lines(
            sent_rows(session, client, rows, tally, call),
            _line,
            partial(_summed, tally),
            total=tally.rows,
            end=lambda: replace(tally.end, said=str(tally) if tally.refused else None),
        )

    return send


def _count(rows: Rows, source: str) -> int:
    total = 0
    bad: list[BadRow] = []
    for row in rows:
        total += 1
        if isinstance(row, BadRow):
            bad.append(row)
    if bad:
        mistakes = listed([(row.line, row.error) for row in bad])
        raise PayloadError(
            "\n".join([f"{len(bad):,} of {total:,} rows in {source} are wrong; none was sent", *mistakes]),
            hint=next((row.error.hint for row in bad if row.error.hint), None),
        )
    return total


async def sent_rows(
    session: Session, client: Client, rows: Rows, tally: Tally, call: NamedCall
) -> AsyncGenerator[Sent, None]:
    """Send the rows in batches and yield each with its answer, once its batch is in the tally."""
    good = (row for row in rows if isinstance(row, Row))
    while batch := list(islice(good, BATCH_ROWS)):
        calls = [replace(call, payload=row.payload).options(idempotency_key=row.key) for row in batch]
        try:
            outcomes = await _send(client, calls)
        except AikiError as error:
            error.add_note(f"{tally}; send the others again, rows with keys are safe to repeat")
            raise
        sent = list(zip(batch, outcomes, strict=True))
        for row, outcome in sent:
            tally.add(row, outcome)
        for handle in [one for one in outcomes if not isinstance(one, AikiError)][-1:]:
            remember(client, handle.run_id)
        session.note_on_interrupt = f"{tally}; the same command finishes it, if the rows have keys"
        for one in sent:
            yield one


async def _send(client: Client, calls: Sequence[NamedCall]) -> list[Handle[Any] | AikiError]:
    """Enqueue `calls`; one whose payload does not fit its workflow is answered with its error, the others are sent."""
    try:
        return await client.enqueue_batch(calls)
    except PayloadError as error:
        if len(calls) == 1:
            return [error]
    half = len(calls) // 2
    return [*await _send(client, calls[:half]), *await _send(client, calls[half:])]


def _line(sent: Sent) -> Line:
    row, outcome = sent
    if isinstance(outcome, AikiError):
        return Line(RefusedRow(row.line, row.key, outcome), None)
    run_id = outcome.run_id
    return Line(EnqueuedRow(row.line, row.key, run_id, outcome.created), run_id, run_id)


async def _summed(tally: Tally, sent: AsyncIterator[Sent]) -> view.Rows:
    """Return the tally once all have been sent."""
    async for _ in sent:
        pass
    return view.Rows((), page=lambda: [str(tally)], document=lambda _: tally.counts(), end=tally.end)
