"""What was done in each minute, how many runs a worker takes at once, and when a run was to start.

Whoever sums up what a namespace does reads rows that each daemon has added up, instead of the runs.
"""

from alembic import op

revision = "0015"
down_revision = "0014"

_STATEMENTS = (
    """
    CREATE TABLE aiki.minutes (
      namespace text NOT NULL,
      workflow text NOT NULL,
      minute timestamptz NOT NULL,
      version text NOT NULL,
      writer uuid NOT NULL,
      part integer NOT NULL,
      enqueued integer NOT NULL,
      completed integer NOT NULL,
      failed integer NOT NULL,
      cancelled integer NOT NULL,
      buckets smallint[] NOT NULL,
      bucket_runs integer[] NOT NULL,
      failed_id uuid,
      written_at timestamptz NOT NULL DEFAULT aiki.now(),
      PRIMARY KEY (namespace, workflow, minute, version, writer, part)
    ) WITH (autovacuum_vacuum_scale_factor = 0.02)
    """,
    "COMMENT ON TABLE aiki.minutes IS 'What was done, by the daemons that did it: readers add up, nobody updates.'",
    "COMMENT ON COLUMN aiki.minutes.writer IS 'The daemon, from its start to its end.'",
    "COMMENT ON COLUMN aiki.minutes.part IS 'Of what it wrote: a minute comes in several.'",
    "COMMENT ON COLUMN aiki.minutes.buckets IS 'How long ended runs took, logarithmic; beside it how many of each.'",
    "COMMENT ON COLUMN aiki.minutes.failed_id IS 'The run of these that failed last.'",
    "CREATE INDEX minutes_written ON aiki.minutes (written_at)",
    "ALTER TABLE aiki.sessions ADD slots integer, ADD draining boolean NOT NULL DEFAULT false",
    "COMMENT ON COLUMN aiki.sessions.slots IS 'Runs that its worker takes at once, if that has said so.'",
    "ALTER TABLE aiki.runs ADD starts_at timestamptz",
    "COMMENT ON COLUMN aiki.runs.starts_at IS 'When it was to start, if that was not at once.'",
)


def upgrade() -> None:
    """Add them."""
    for statement in _STATEMENTS:
        op.execute(statement)
