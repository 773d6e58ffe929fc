"""What happens to a run is a move, in the history too."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = ("ALTER TABLE aiki.run_history RENAME COLUMN event TO move",)


def upgrade() -> None:
    """Rename the one column."""
    for statement in STATEMENTS:
        op.execute(statement)
