"""Lists of runs go by the database's clock: indexes by when a run was stored."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    "CREATE INDEX runs_created ON aiki.runs (created_at, id)",
    "DROP INDEX aiki.runs_troubled",
    """
    CREATE INDEX runs_troubled ON aiki.runs (namespace, created_at, id)
      WHERE state IN ('blocked', 'failed', 'retrying')
    """,
    "COMMENT ON TABLE aiki.session_routes IS 'What each session serves; only ever added to, while it lives.'",
)


def upgrade() -> None:
    """Add the one index, and put another in order of creation."""
    for statement in STATEMENTS:
        op.execute(statement)
