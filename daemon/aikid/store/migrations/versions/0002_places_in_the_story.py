"""Where transitions and tries stand in a run's story: beside which journal entry, and under which claim."""

from alembic import op

revision = "0002"
down_revision = "0001"

_ENTRIES_UNTIL = """
  (SELECT count(*) FROM aiki.journal j WHERE j.run_id = {0}.run_id AND j.at_us <= extract(epoch FROM {0}.at) * 1000000)
"""
# Of what was written before, the places are as far as the clocks tell.
STATEMENTS = (
    "ALTER TABLE aiki.run_history ADD COLUMN journal_length integer",
    "COMMENT ON COLUMN aiki.run_history.journal_length IS"
    " 'The journal''s length when this happened; null where it is that of the event before.'",
    f"""
    UPDATE aiki.run_history h SET journal_length = {_ENTRIES_UNTIL.format("h")}
    WHERE h.event NOT IN ('enqueued', 'claim', 'due', 'resume')
    """,
    "ALTER TABLE aiki.attempts ADD COLUMN epoch integer, ADD COLUMN journal_length integer",
    f"""
    UPDATE aiki.attempts a SET journal_length = {_ENTRIES_UNTIL.format("a")},
      epoch = (SELECT count(*) FROM aiki.run_history h
        WHERE h.run_id = a.run_id AND h.event = 'claim' AND h.at <= a.at)
    """,
    "ALTER TABLE aiki.attempts ALTER COLUMN epoch SET NOT NULL, ALTER COLUMN journal_length SET NOT NULL",
)


def upgrade() -> None:
    """Add the places, and fill them in."""
    for statement in STATEMENTS:
        op.execute(statement)
