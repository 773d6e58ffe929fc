"""Schedules: when each fires, what became of its slots, and which of them a run is of.

And children are counted, so that no clock says which of them a cancelled run had started before.
"""

from alembic import op

revision = "0013"
down_revision = "0012"

_STATEMENTS = (
    "ALTER TABLE aiki.runs ADD fired bytea",
    "COMMENT ON COLUMN aiki.runs.fired IS 'The slot of the schedule that it is of, if it is of one.'",
    """
    CREATE TABLE aiki.schedules (
      id uuid PRIMARY KEY,
      namespace text NOT NULL,
      name text NOT NULL,
      project text,
      workflow text NOT NULL,
      version text NOT NULL,
      input bytea NOT NULL,
      spec bytea NOT NULL,
      options bytea NOT NULL,
      created_at timestamptz NOT NULL DEFAULT aiki.now(),
      updated_at timestamptz NOT NULL DEFAULT aiki.now(),
      revision bigint NOT NULL DEFAULT 1,
      paused boolean NOT NULL DEFAULT false,
      vanished boolean NOT NULL DEFAULT false,
      note text,
      zones text NOT NULL,
      decided_us bigint NOT NULL,
      due_at timestamptz,
      last_completed_us bigint,
      UNIQUE (namespace, name)
    ) WITH (fillfactor = 80)
    """,
    "COMMENT ON TABLE aiki.schedules IS 'What enqueues runs by itself. Who changes one holds its row.'",
    "COMMENT ON COLUMN aiki.schedules.project IS 'The manifest that owns it, if one does.'",
    "COMMENT ON COLUMN aiki.schedules.zones IS 'The zone data by which due_at was found.'",
    "COMMENT ON COLUMN aiki.schedules.decided_us IS 'All slots up to this one are decided.'",
    "COMMENT ON COLUMN aiki.schedules.due_at IS 'When to look at it next; null if there is nothing to look for.'",
    "CREATE INDEX schedules_owned ON aiki.schedules (namespace, project, name) WHERE project IS NOT NULL",
    "CREATE INDEX schedules_due ON aiki.schedules (due_at) WHERE due_at IS NOT NULL",
    """
    CREATE TABLE aiki.slots (
      schedule_id uuid,
      kind text,
      slot_us bigint,
      result text NOT NULL,
      at timestamptz NOT NULL DEFAULT aiki.now(),
      reason text,
      run_id uuid,
      is_open boolean NOT NULL,
      until_us bigint,
      count integer NOT NULL DEFAULT 1,
      PRIMARY KEY (schedule_id, kind, slot_us)
    )
    """,
    "COMMENT ON TABLE aiki.slots IS 'A row for each slot that was decided: one run each, whoever fires it.'",
    "COMMENT ON COLUMN aiki.slots.kind IS 'slot, trigger or backfill.'",
    "COMMENT ON COLUMN aiki.slots.result IS 'started, queued, skipped, missed or failed.'",
    "COMMENT ON COLUMN aiki.slots.is_open IS 'Whether its run, or what came of it, may go on.'",
    "COMMENT ON COLUMN aiki.slots.until_us IS 'Up to where slots in a row were missed for one reason.'",
    "CREATE INDEX slots_at ON aiki.slots (schedule_id, at)",
    "CREATE INDEX slots_open ON aiki.slots (schedule_id, slot_us) WHERE is_open OR result = 'queued'",
    "ALTER TABLE aiki.children ADD before integer NOT NULL DEFAULT 0",
    "COMMENT ON COLUMN aiki.children.before IS 'How many its parent had started before.'",
    "ALTER TABLE aiki.errands DROP at, ADD upto integer",
    "COMMENT ON COLUMN aiki.errands.upto IS 'How many it had started: if it goes on, only these are to end.'",
    "UPDATE aiki.errands e SET upto = r.children FROM aiki.runs r WHERE r.id = e.run_id",
)


def upgrade() -> None:
    """Make them."""
    for statement in _STATEMENTS:
        op.execute(statement)
