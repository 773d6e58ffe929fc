"""What events a workflow declares, kept with its route."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    "ALTER TABLE aiki.routes ADD COLUMN events bytea",
    "COMMENT ON COLUMN aiki.routes.events IS 'The schemas of those that it declares, by name.'",
)


def upgrade() -> None:
    """Add the column; it is filled when a worker registers its route again."""
    for statement in STATEMENTS:
        op.execute(statement)
