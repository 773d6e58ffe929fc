"""What was called with what and when, keys of tasks across runs, retention, imported runs, and what routes are made of.

What a run's tasks were called with stands beside what they came to. A key of a task may be one for all runs of a
workflow, or of a namespace: then its row says who has it, or what it has come to. Of keys of runs that are deleted the
row stays for its own time.
"""

from alembic import op

revision = "0014"
down_revision = "0013"

_STATEMENTS = (
    "ALTER TABLE aiki.attempts ADD started_us bigint, ADD worker text, ADD arguments bytea",
    "COMMENT ON COLUMN aiki.attempts.worker IS 'Of a copy alone.'",
    "COMMENT ON COLUMN aiki.journal.worker IS 'Of a copy alone: of others the claim before it says it.'",
    "ALTER TABLE aiki.runs ADD imported bytea",
    "COMMENT ON COLUMN aiki.runs.imported IS 'Where it was exported from, if it was imported: it is never claimed.'",
    "ALTER TABLE aiki.keys ADD expires_at timestamptz",
    "COMMENT ON COLUMN aiki.keys.expires_at IS 'Until when it is held though its run is gone; null before that.'",
    "CREATE INDEX keys_expiring ON aiki.keys (expires_at) WHERE expires_at IS NOT NULL",
    "ALTER TABLE aiki.routes ADD fingerprint text, ADD fingerprint_at timestamptz, ADD retention bytea",
    "COMMENT ON COLUMN aiki.routes.fingerprint IS 'Of the code that last registered it.'",
    "COMMENT ON COLUMN aiki.routes.fingerprint_at IS 'Since when that is its code.'",
    "ALTER TABLE aiki.routes ADD fingerprint_by text, ADD fingerprint_session uuid",
    "COMMENT ON COLUMN aiki.routes.fingerprint_by IS 'The worker that was the first to have it.'",
    "ALTER TABLE aiki.routes ADD earlier text, ADD earlier_at timestamptz, ADD earlier_by text",
    "COMMENT ON COLUMN aiki.routes.earlier IS 'The fingerprint before this one.'",
    "ALTER TABLE aiki.session_routes ADD fingerprint text",
    "CREATE INDEX schedules_route ON aiki.schedules (namespace, workflow, version)",
    "COMMENT ON COLUMN aiki.session_routes.fingerprint IS 'Of the code that this session has.'",
    "COMMENT ON COLUMN aiki.routes.retention IS 'How long its ended runs are kept, if the code says so.'",
    """
    CREATE TABLE aiki.retention (
      namespace text NOT NULL,
      workflow text NOT NULL,
      project text,
      periods bytea NOT NULL,
      PRIMARY KEY (namespace, workflow)
    )
    """,
    "COMMENT ON TABLE aiki.retention IS 'How long ended runs of a workflow are kept, by state, as manifests say.'",
    """
    CREATE TABLE aiki.task_keys (
      namespace text NOT NULL,
      scope text NOT NULL,
      task text NOT NULL,
      key text NOT NULL,
      run_id uuid NOT NULL,
      generation integer NOT NULL,
      epoch integer NOT NULL,
      call text NOT NULL,
      digest text NOT NULL,
      at timestamptz NOT NULL DEFAULT aiki.now(),
      session_id uuid,
      done_at timestamptz,
      expires_at timestamptz,
      value bytea,
      PRIMARY KEY (namespace, scope, task, key)
    )
    """,
    "COMMENT ON TABLE aiki.task_keys IS 'Idempotency keys of tasks across runs: who has each, or what it has come to.'",
    "COMMENT ON COLUMN aiki.task_keys.scope IS 'The workflow whose runs share it; empty for all of the namespace.'",
    "COMMENT ON COLUMN aiki.task_keys.epoch IS 'Of the claim in which its owner has asked for it last.'",
    "COMMENT ON COLUMN aiki.task_keys.at IS 'Since when its owner has it.'",
    "COMMENT ON COLUMN aiki.task_keys.session_id IS 'In which a try may still run that its owner has left.'",
    "COMMENT ON COLUMN aiki.task_keys.call IS 'The key of the owner''s call in its journal.'",
    "CREATE INDEX task_keys_expiring ON aiki.task_keys (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE INDEX task_keys_owned ON aiki.task_keys (run_id) WHERE done_at IS NULL",
    """
    CREATE TABLE aiki.task_key_waiters (
      namespace text NOT NULL,
      scope text NOT NULL,
      task text NOT NULL,
      key text NOT NULL,
      run_id uuid NOT NULL,
      generation integer NOT NULL,
      call text NOT NULL,
      at timestamptz NOT NULL DEFAULT aiki.now(),
      told_at timestamptz,
      PRIMARY KEY (namespace, scope, task, key, run_id)
    )
    """,
    "COMMENT ON TABLE aiki.task_key_waiters IS 'Runs that wait for a key of a task that another run has.'",
    "COMMENT ON COLUMN aiki.task_key_waiters.told_at IS 'When it was told to ask again; null since it has.'",
    """
    CREATE INDEX task_key_waiters_turn ON aiki.task_key_waiters (namespace, scope, task, key, at)
      WHERE told_at IS NULL
    """,
    """
    CREATE INDEX task_key_waiters_told ON aiki.task_key_waiters (namespace, scope, task, key, told_at)
      WHERE told_at IS NOT NULL
    """,
    "CREATE INDEX task_key_waiters_run ON aiki.task_key_waiters (run_id)",
    """
    COMMENT ON COLUMN aiki.errands.kind IS 'end: its parent is to hear of it; watched: so are others who wait; close: '
      'its children are to end; left_over: it is gone, and what is left of a large family goes.'
    """,
)
_DELETED_FROM = (
    *("attempts", "children", "deadlines", "ended", "inbox", "journal", "keys", "labels", "listing", "run_history"),
    "task_counts",
)
"""Tables that ended runs are deleted from."""


def upgrade() -> None:
    """Add them."""
    for statement in _STATEMENTS:
        op.execute(statement)
    for table in _DELETED_FROM:
        op.execute(f"ALTER TABLE aiki.{table} SET (autovacuum_vacuum_scale_factor = 0.02)")
