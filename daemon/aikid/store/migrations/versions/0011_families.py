"""Families: which runs a run has started or waits for, what is still to be told of them, runs that were retried, and
where the generations of one begin.

Lists walk roots and children apart, so that neither hides behind the other.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

_STATEMENTS = (
    "ALTER TABLE aiki.runs ADD depth smallint, ADD retry bytea, ADD retried_by uuid, ADD wake_news integer,"
    " ADD began_at timestamptz, DROP COLUMN watchers",
    "COMMENT ON COLUMN aiki.runs.depth IS 'How many ancestors it has, if any.'",
    "COMMENT ON COLUMN aiki.runs.retry IS 'When the workflow itself is tried again, if its options say so.'",
    "COMMENT ON COLUMN aiki.runs.retried_by IS 'The run that is its retry.'",
    "COMMENT ON COLUMN aiki.runs.wake_news IS"
    " 'The number of the arrival that wakes it at the latest, if it waits for several ends.'",
    "COMMENT ON COLUMN aiki.runs.began_at IS 'The first claim of its generation; of its first that is started_at.'",
    "COMMENT ON COLUMN aiki.runs.children IS 'How many runs it has started, if any; 0 if others wait for it alone.'",
    """
    CREATE TABLE aiki.children (
      parent_id uuid NOT NULL,
      start_id uuid NOT NULL,
      run_id uuid NOT NULL,
      generation integer NOT NULL,
      owned boolean NOT NULL,
      parent_close text NOT NULL,
      created_at timestamptz NOT NULL,
      PRIMARY KEY (parent_id, start_id)
    )
    """,
    "COMMENT ON TABLE aiki.children IS"
    " 'A row for each start of a child: the run that it made, or the one with its key that it found.'",
    "COMMENT ON COLUMN aiki.children.start_id IS"
    " 'The id that the parent knows the child by: that of the run which it made.'",
    "COMMENT ON COLUMN aiki.children.generation IS 'Of the parent: an end is told to no other.'",
    "COMMENT ON COLUMN aiki.children.owned IS 'Whether the start has made the run.'",
    "COMMENT ON COLUMN aiki.children.parent_close IS 'cancel, abandon or wait.'",
    "CREATE INDEX children_created ON aiki.children (parent_id, created_at)",
    "CREATE INDEX children_watched ON aiki.children (run_id) WHERE NOT owned",
    """
    CREATE TABLE aiki.generations (
      run_id uuid NOT NULL,
      generation integer NOT NULL,
      history_seq integer NOT NULL,
      epoch integer NOT NULL,
      PRIMARY KEY (run_id, generation)
    )
    """,
    "COMMENT ON TABLE aiki.generations IS 'Where the later generations of a run begin.'",
    "COMMENT ON COLUMN aiki.generations.history_seq IS 'The line of its history that begins it.'",
    "COMMENT ON COLUMN aiki.generations.epoch IS 'How many claims there were before.'",
    """
    CREATE TABLE aiki.origins (
      origin_id uuid PRIMARY KEY,
      run_id uuid NOT NULL
    )
    """,
    "COMMENT ON TABLE aiki.origins IS 'The newest retry of each run that was retried.'",
    """
    CREATE TABLE aiki.errands (
      run_id uuid NOT NULL,
      kind text NOT NULL,
      at timestamptz NOT NULL DEFAULT aiki.now(),
      PRIMARY KEY (run_id, kind)
    )
    """,
    "COMMENT ON TABLE aiki.errands IS"
    " 'What is still to be told after a commit: of a run that has ended to whom it concerns, or to its children.'",
    "COMMENT ON COLUMN aiki.errands.kind IS"
    " 'end: its parent is to hear of it; watched: so are others who wait; close: its children are to end.'",
    "ALTER TABLE aiki.listing ADD is_child boolean NOT NULL DEFAULT false",
    "DROP INDEX aiki.listing_created",
    "CREATE INDEX listing_created ON aiki.listing (namespace, is_child, created_at)",
)


def upgrade() -> None:
    """Add what families need."""
    for statement in _STATEMENTS:
        op.execute(statement)
