"""Own `aiki enqueue --from`: every row is read before the first is sent, then all go in batches, each accounted for.

A row with a key can be sent again without harm, so after a break the same command finishes the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiki import AikiError, PayloadError
from aiki_cli import exits
from aiki_cli.session import Session
from aiki_cli.view.output import Mode, Output, console
from aiki_cli.view.text import one_line, to_json
from aiki_cli.words.rows import BadRow, Row, Rows, open_rows

if TYPE_CHECKING:
    from aiki import Client, Handle, NamedCall

BATCH_ROWS: Final = 2000
SHOWN_ROWS: Final = 20


@dataclass
class Tally:
    """What became of the rows so far."""

    rows: int
    created: int = 0
    existing: int = 0
    refused: list[tuple[int, AikiError]] = field(default_factory=list)
    """Line and reason."""

    @property
    def sent(self) -> int:
        """Rows that have been answered."""
        return self.created + self.existing + len(self.refused)

    @property
    def exit_code(self) -> int:
        """The highest code of a refusal."""
        return max((exits.BY_ERROR_CODE.get(error.code, exits.BUG) for _, error in self.refused), default=exits.OK)

    def __str__(self) -> str:
        parts = [f"{self.created:,} enqueued"]
        if self.existing:
            parts.append(f"{self.existing:,} were there already")
        if self.refused:
            parts.append(f"{len(self.refused):,} refused")
        return f"{self.sent:,} of {self.rows:,} rows: {', '.join(parts)}"


def enqueue_rows(session: Session, source: str, *, key_field: str | None, run_options: dict[str, Any]) -> int:
    """Enqueue one run per row of `source`, and return the exit code.

    Raises PayloadError, which names the lines, if a row is no payload; then nothing was sent.
    """
    with open_rows(source, key_field=key_field) as rows:
        tally = Tally(_count(rows, source))
        return session.run(lambda: _send_all(session, rows, tally, run_options))


def _count(rows: Rows, source: str) -> int:
    total = 0
    bad: list[BadRow] = []
    for row in rows:
        total += 1
        if isinstance(row, BadRow):
            bad.append(row)
    if bad:
        mistakes = _listed([(row.line, row.error) for row in bad])
        raise PayloadError(
            "\n".join([f"{len(bad):,} of {total:,} rows in {source} are wrong; none was sent", *mistakes]),
            hint=next((row.error.hint for row in bad if row.error.hint), None),
        )
    return total


async def _send_all(session: Session, rows: Rows, tally: Tally, run_options: dict[str, Any]) -> int:
    from aiki import NamedCall

    good = (row for row in rows if isinstance(row, Row))
    async with session.connect() as client:
        with _progress(session.out, tally.rows) as advance:
            while batch := list(islice(good, BATCH_ROWS)):
                calls = [NamedCall(payload=row.payload, idempotency_key=row.key, **run_options) for row in batch]
                try:
                    outcomes = await _send(client, calls)
                except AikiError as error:
                    error.add_note(f"{tally}; send the others again, rows with keys are safe to repeat")
                    raise
                _account(session.out, tally, batch, outcomes)
                session.note_on_interrupt = f"{tally}; the same command finishes it, if the rows have keys"
                advance(len(batch))
    _conclude(session.out, tally)
    return tally.exit_code


async def _send(client: Client, calls: Sequence[NamedCall]) -> list[Handle[Any] | AikiError]:
    """Enqueue `calls`; one whose payload does not fit its workflow is answered with its error, the others are sent."""
    try:
        return await client.enqueue_batch(calls)
    except PayloadError as error:
        if len(calls) == 1:
            return [error]
    half = len(calls) // 2
    return [*await _send(client, calls[:half]), *await _send(client, calls[half:])]


def _account(out: Output, tally: Tally, batch: Iterable[Row], outcomes: Iterable[Handle[Any] | AikiError]) -> None:
    for row, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, AikiError):
            tally.refused.append((row.line, outcome))
            if out.mode is Mode.JSONL:
                refused = {"code": outcome.code, "message": str(outcome)}
                out.write(to_json({"line": row.line, "key": row.key, "error": refused}))
            continue
        tally.created += outcome.created
        tally.existing += not outcome.created
        if out.mode is Mode.JSONL:
            shown = {"line": row.line, "key": row.key, "id": outcome.run_id, "created": outcome.created}
            out.write(to_json(shown))
        elif out.mode in {Mode.IDS, Mode.TSV}:
            out.write(outcome.run_id)


def _conclude(out: Output, tally: Tally) -> None:
    if out.mode is Mode.JSON:
        refused = [{"line": line, "code": error.code, "message": str(error)} for line, error in tally.refused]
        counts = {"rows": tally.rows, "created": tally.created, "existing": tally.existing, "refused": refused}
        out.document(counts)
    elif out.mode is Mode.TABLE:
        out.write(str(tally))
    elif tally.refused:
        out.say(str(tally))
    if tally.refused and out.mode not in {Mode.JSON, Mode.JSONL}:
        out.say("\n".join(["error: rows were refused", *(f"  {line}" for line in _listed(tally.refused))]))


def _listed(mistakes: Sequence[tuple[int, AikiError]]) -> list[str]:
    lines = [one_line(f"line {line}: {error}") for line, error in mistakes[:SHOWN_ROWS]]
    more = len(mistakes) - SHOWN_ROWS
    return [*lines, f"... and {more:,} more"] if more > 0 else lines


@contextmanager
def _progress(out: Output, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr where a person looks; yield what moves it on."""
    if not out.talkative:
        yield lambda rows: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = (TextColumn("enqueue"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeRemainingColumn())
    with Progress(*shown, console=console(stderr=True), transient=True) as progress:
        bar = progress.add_task("enqueue", total=total)
        yield lambda rows: progress.advance(bar, rows)
