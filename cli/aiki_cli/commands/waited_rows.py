"""Own `aiki enqueue --from --wait`: once all rows are sent, a line of each as its run ends, and what they come to.

Of a row that has been sent four words are kept, however many there are. Several rows may have one run, by their key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from aiki import AikiError
from aiki_cli.commands.detaching import cancel_with
from aiki_cli.view.found import End, Lines
from aiki_cli.view.outcomes import Tally as Ends
from aiki_cli.view.row_outcomes import EndedRow, line

if TYPE_CHECKING:
    from aiki import Client
    from aiki_cli.session import Session
    from aiki_cli.view.row_tally import Sent, Tally


def waited(
    session: Session, client: Client, sent: AsyncGenerator[Sent, None], tally: Tally, *, seconds: float | None
) -> Lines[EndedRow]:
    """Return the rows as they come to an end, those that are refused first. The exit code is the highest."""
    ends = Ends(0)

    def end() -> End:
        refused, ended = tally.end, ends.end()
        problems = [problem for problem in (refused.problem, ended.problem) if problem is not None]
        told = [*problems, f"  {tally}" + (f"; {ends}" if ends.counts else "")] if problems else []
        return End(max(refused.code, ended.code), problem="\n".join(told) or None)

    rows = _as_they_end(session, client, sent, ends, seconds)
    return Lines(rows, line, total=tally.rows, end=end, doing="wait", named="rows")


async def _as_they_end(
    session: Session, client: Client, sent: AsyncGenerator[Sent, None], ends: Ends, seconds: float | None
) -> AsyncGenerator[EndedRow, None]:
    from aiki_cli.commands.waiting import outcomes

    rows: dict[str, list[tuple[int, str | None, bool]]] = {}
    async with aclosing(sent):
        async for row, outcome in sent:
            if isinstance(outcome, AikiError):
                yield EndedRow(row.line, row.key, None, False, outcome)
            else:
                rows.setdefault(outcome.run_id, []).append((row.line, row.key, outcome.created))
    ends.runs = left = len(rows)
    cancel_with(session, client, rows)
    async with aclosing(outcomes(client, rows, seconds=seconds)) as coming:
        session.note_on_interrupt = _how_to_go_on(left)
        async for run_id, result in coming:
            left -= 1
            session.note_on_interrupt = _how_to_go_on(left)
            ends.add(run_id, result)
            for number, key, created in rows.pop(run_id):
                yield EndedRow(number, key, run_id, created, result)
            if session.out.gone:
                break


def _how_to_go_on(left: int) -> str:
    going = "1 run goes on" if left == 1 else f"{left:,} runs go on"
    return f"{going}, and none was cancelled; the same command waits for them again, if the rows have keys"
