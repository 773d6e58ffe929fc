"""What only readers ask for, in tables beside the runs: lists, labels, ends, and how far a journal's tasks are counted.

The hot row loses the indexes that only lists needed. And what happens to a run is a move, in the history too.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

_CREATE = (
    "ALTER TABLE aiki.run_history RENAME COLUMN event TO move",
    """
    CREATE TABLE aiki.listing (
      namespace text NOT NULL,
      created_at timestamptz NOT NULL,
      run_id uuid NOT NULL,
      number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
      tail integer NOT NULL
    )
    """,
    "COMMENT ON TABLE aiki.listing IS"
    " 'Every run, inserted with it: lists in the order in which runs were stored, and ids by their end.'",
    "COMMENT ON COLUMN aiki.listing.tail IS 'The last 8 digits of the id.'",
    """
    CREATE TABLE aiki.labels (
      namespace text NOT NULL,
      name text NOT NULL,
      value text NOT NULL,
      created_at timestamptz NOT NULL,
      run_id uuid NOT NULL
    )
    """,
    "COMMENT ON TABLE aiki.labels IS 'A row for each label of a run, inserted with it.'",
    """
    CREATE TABLE aiki.ended (
      namespace text NOT NULL,
      workflow text NOT NULL,
      version text NOT NULL,
      state text NOT NULL,
      created_at timestamptz NOT NULL,
      run_id uuid NOT NULL
    )
    """,
    "COMMENT ON TABLE aiki.ended IS 'Runs in a terminal state, inserted with their end: lists and counts by state.'",
    "COMMENT ON COLUMN aiki.ended.created_at IS 'The run''s, since lists are in that order.'",
    """
    CREATE TABLE aiki.task_counts (
      run_id uuid NOT NULL,
      seq integer NOT NULL,
      tasks integer NOT NULL,
      PRIMARY KEY (run_id, seq)
    )
    """,
    "COMMENT ON TABLE aiki.task_counts IS"
    " 'How many of a journal''s first seq entries are tasks'': a row now and then, so that few are left to count.'",
)
# Each reads its table once, and the indexes are made when all rows are there: minutes for millions of runs.
_FILL = (
    """
    INSERT INTO aiki.listing (namespace, created_at, run_id, tail)
    SELECT namespace, created_at, id, ('x' || right(id::text, 8))::bit(32)::int FROM aiki.runs ORDER BY created_at, id
    """,
    """
    INSERT INTO aiki.labels (namespace, name, value, created_at, run_id)
    SELECT r.namespace, l.key, l.value, r.created_at, r.id
    FROM aiki.runs r CROSS JOIN LATERAL jsonb_each_text(r.labels) AS l WHERE r.labels IS NOT NULL
    """,
    """
    INSERT INTO aiki.ended (namespace, workflow, version, state, created_at, run_id)
    SELECT namespace, workflow, version, state, created_at, id FROM aiki.runs
    WHERE state IN ('cancelled', 'completed', 'failed') ORDER BY finished_at
    """,
    """
    INSERT INTO aiki.task_counts (run_id, seq, tasks)
    SELECT run_id, max(seq), count(*) FILTER (WHERE starts_with(key, 'task:')) FROM aiki.journal
    GROUP BY run_id HAVING max(seq) >= 100
    """,
)
_INDEXES = (
    "CREATE INDEX listing_created ON aiki.listing (namespace, created_at)",
    "CREATE INDEX listing_tail ON aiki.listing (namespace, ((number >> 16)::integer), tail)",
    "CREATE INDEX labels_created ON aiki.labels (namespace, name, value, created_at)",
    "CREATE INDEX ended_state ON aiki.ended (namespace, workflow, version, state, created_at)",
    "DROP INDEX aiki.runs_created",
    "DROP INDEX aiki.runs_troubled",
    """
    CREATE INDEX runs_resting ON aiki.runs (namespace, workflow, version, state, created_at)
      WHERE state IN ('blocked', 'paused', 'retrying', 'scheduled', 'sleeping', 'waiting')
    """,
)


def upgrade() -> None:
    """Make the tables, fill them from the runs and journals that are there, and let go of the old indexes."""
    for statement in (*_CREATE, *_FILL, *_INDEXES):
        op.execute(statement)
