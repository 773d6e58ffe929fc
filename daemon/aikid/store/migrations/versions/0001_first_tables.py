"""The first tables."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE aiki.runs (
      id uuid PRIMARY KEY,
      namespace text NOT NULL,
      workflow text NOT NULL,
      version text NOT NULL,
      state text NOT NULL,
      priority smallint NOT NULL DEFAULT 0,
      epoch integer NOT NULL DEFAULT 0,
      history_seq integer NOT NULL DEFAULT 0,
      crash_length integer NOT NULL DEFAULT 0,
      crash_count smallint NOT NULL DEFAULT 0,
      created_at timestamptz NOT NULL DEFAULT now(),
      started_at timestamptz,
      claimed_at timestamptz,
      finished_at timestamptz,
      due_at timestamptz,
      session_id uuid,
      claim_id text,
      origin_id uuid NOT NULL,
      key text,
      digest text,
      labels jsonb,
      why text,
      input bytea NOT NULL,
      output bytea,
      error bytea
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)
    """,
    """
    CREATE INDEX runs_queued ON aiki.runs
      (namespace, workflow, version, (started_at IS NULL), priority DESC, created_at) WHERE state = 'queued'
    """,
    """
    CREATE INDEX runs_suspect ON aiki.runs (namespace, workflow, version)
      WHERE state = 'queued' AND crash_count >= 2
    """,
    """
    CREATE INDEX runs_suspect_running ON aiki.runs (session_id)
      WHERE state = 'running' AND crash_count >= 2
    """,
    "CREATE INDEX runs_due ON aiki.runs (due_at) WHERE state IN ('scheduled', 'sleeping', 'retrying')",
    "CREATE INDEX runs_running ON aiki.runs (session_id) WHERE state = 'running'",
    "CREATE UNIQUE INDEX runs_key ON aiki.runs (namespace, workflow, key) WHERE key IS NOT NULL",
    "CREATE INDEX runs_troubled ON aiki.runs (namespace, id) WHERE state IN ('blocked', 'failed', 'retrying')",
    """
    CREATE TABLE aiki.journal (
      run_id uuid NOT NULL,
      seq integer NOT NULL,
      ok boolean NOT NULL,
      turns integer,
      at_us bigint NOT NULL,
      key text NOT NULL,
      value bytea NOT NULL,
      PRIMARY KEY (run_id, seq)
    )
    """,
    "COMMENT ON TABLE aiki.journal IS"
    " 'Outcomes in the order in which they were delivered; seq counts from 1 without gaps.'",
    """
    CREATE TABLE aiki.attempts (
      run_id uuid NOT NULL,
      key text NOT NULL,
      attempt integer NOT NULL,
      at timestamptz NOT NULL DEFAULT now(),
      next_at_us bigint,
      error bytea,
      PRIMARY KEY (run_id, key, attempt)
    )
    """,
    "COMMENT ON TABLE aiki.attempts IS"
    " 'Tries of tasks that were not final; error is null for the start of an at_most_once task.'",
    """
    CREATE TABLE aiki.run_history (
      run_id uuid NOT NULL,
      seq integer NOT NULL,
      at timestamptz NOT NULL DEFAULT now(),
      event text NOT NULL,
      reason text,
      actor text,
      PRIMARY KEY (run_id, seq)
    )
    """,
    """
    CREATE TABLE aiki.sessions (
      id uuid PRIMARY KEY,
      namespace text NOT NULL,
      worker text NOT NULL,
      routes jsonb NOT NULL,
      ttl interval NOT NULL,
      opened_at timestamptz NOT NULL DEFAULT now(),
      expires_at timestamptz NOT NULL,
      closed_at timestamptz
    ) WITH (fillfactor = 50)
    """,
    """COMMENT ON COLUMN aiki.sessions.routes IS '[["workflow", "version"], ...]'""",
    """
    CREATE TABLE aiki.routes (
      namespace text NOT NULL,
      workflow text NOT NULL,
      version text NOT NULL,
      parameters bytea,
      task_names jsonb,
      created_at timestamptz NOT NULL DEFAULT now(),
      registered_at timestamptz,
      PRIMARY KEY (namespace, workflow, version)
    )
    """,
    "COMMENT ON COLUMN aiki.routes.registered_at IS 'When a worker last registered it; null if only ever enqueued.'",
    """
    CREATE TABLE aiki.sweeps (
      one boolean PRIMARY KEY DEFAULT true,
      swept_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT sweeps_one_row CHECK (one)
    )
    """,
    "COMMENT ON TABLE aiki.sweeps IS"
    " 'When any daemon last looked for dead sessions; a gap means that nobody could, see the rescuer.'",
    "INSERT INTO aiki.sweeps DEFAULT VALUES",
)


def upgrade() -> None:
    """Create the tables of the first release."""
    for statement in STATEMENTS:
        op.execute(statement)
