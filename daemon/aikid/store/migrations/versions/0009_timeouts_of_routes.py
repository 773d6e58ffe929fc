"""The timeouts that a workflow gives to its runs, kept with its route for who enqueues by name."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    "ALTER TABLE aiki.routes ADD COLUMN timeout_us bigint, ADD COLUMN cancel_timeout_us bigint",
    "COMMENT ON COLUMN aiki.routes.timeout_us IS 'Of its runs, unless their own options have one.'",
)


def upgrade() -> None:
    """Add the columns; they are filled when a worker registers its route again."""
    for statement in STATEMENTS:
        op.execute(statement)
