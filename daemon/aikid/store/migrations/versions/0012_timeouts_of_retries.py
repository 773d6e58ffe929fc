"""How long a run may take, beside its deadline: a retry has as long, from its own beginning."""

from alembic import op

revision = "0012"
down_revision = "0011"

_STATEMENTS = (
    "ALTER TABLE aiki.deadlines ADD timeout interval",
    "COMMENT ON COLUMN aiki.deadlines.timeout IS 'From when it may start: its retry has as long.'",
    "UPDATE aiki.deadlines d SET timeout = d.at - r.created_at FROM aiki.runs r WHERE r.id = d.run_id",
)


def upgrade() -> None:
    """Add it, for runs that are there as far as it is known."""
    for statement in _STATEMENTS:
        op.execute(statement)
