"""The deadlines of runs, in a table beside them: only those that have one pay for it."""

from alembic import op

revision = "0008"
down_revision = "0007"

_COMMENTS = {
    "TABLE aiki.deadlines": "Of each run with a timeout when that passes, inserted with it.",
    "COLUMN aiki.deadlines.at": "By when the run must have ended.",
    "COLUMN aiki.deadlines.grace": "How long it may take to end when that has passed, if it was said.",
    "COLUMN aiki.deadlines.told_seq": "The number of the arrival that told it so; 0 if it knew before.",
    "COLUMN aiki.deadlines.look_at": "When to look at the run; null when no more, or not before it is resumed.",
}


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        CREATE TABLE aiki.deadlines (
          run_id uuid PRIMARY KEY,
          at timestamptz NOT NULL,
          grace interval,
          told_seq bigint,
          look_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX deadlines_look ON aiki.deadlines (look_at) WHERE look_at IS NOT NULL")
    for what, comment in _COMMENTS.items():
        op.execute(f"COMMENT ON {what} IS '{comment}'")
