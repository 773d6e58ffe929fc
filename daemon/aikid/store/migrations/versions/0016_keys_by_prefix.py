"""Idempotency keys in the order of their characters, so that those with one beginning stand side by side.

The order of a language may pass over punctuation. Nothing else asks for that order, and no index is added: only the
primary key is built anew.
"""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Have the primary key in the order of characters."""
    op.execute('ALTER TABLE aiki.keys ALTER COLUMN key TYPE text COLLATE "C"')
