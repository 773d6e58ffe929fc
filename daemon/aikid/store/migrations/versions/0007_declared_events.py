"""What events a workflow declares, kept with its route."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    "ALTER TABLE aiki.routes ADD COLUMN events bytea, ADD COLUMN event_names text[]",
    "COMMENT ON COLUMN aiki.routes.events IS 'The schemas of those that it declares, by name.'",
    "COMMENT ON COLUMN aiki.routes.event_names IS 'All that its runs take; null if they take any.'",
)


def upgrade() -> None:
    """Add the columns; they are filled when a worker registers its route again."""
    for statement in STATEMENTS:
        op.execute(statement)
