"""How long a run may take to end that was cancelled, in the table of deadlines: such a run need not have one."""

from alembic import op

revision = "0010"
down_revision = "0009"

_COMMENTS = {
    "at": "By when the run must have ended; null if it need not, or a cancel has come before.",
    "grace": "How long it may take to end when it was told to, if that was said.",
}


def upgrade() -> None:
    """Let a row be without a date."""
    op.execute("ALTER TABLE aiki.deadlines ALTER COLUMN at DROP NOT NULL")
    for column, comment in _COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN aiki.deadlines.{column} IS '{comment}'")
