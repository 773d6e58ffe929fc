"""What reaches a run: an inbox beside it, generations, who holds a key, and one clock for all statements.

Two columns get other names, so that Postgres refuses each enqueue, claim and record of an aikid of the former version
that still runs. It would park a run without a look at its news and take a key that it does not see; as it is, it
answers `Unavailable`, which another aikid's answer follows.

The runs are written anew, with their columns in another order (see `tables`): a minute for millions of them, as the new
key of the journal takes.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

_FUNCTIONS = (
    "CREATE FUNCTION aiki.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE RETURN pg_catalog.now()",
    """
    CREATE FUNCTION aiki.clock() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
      RETURN pg_catalog.clock_timestamp()
    """,
    """
    CREATE FUNCTION aiki.again() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
      RAISE EXCEPTION 'what this statement read is older than its locks' USING ERRCODE = 'serialization_failure';
    END $$
    """,
)
_DEFAULTS = (
    "ALTER TABLE aiki.attempts ALTER COLUMN at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.run_history ALTER COLUMN at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.sessions ALTER COLUMN opened_at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.routes ALTER COLUMN created_at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.sweeps ALTER COLUMN swept_at SET DEFAULT aiki.now()",
)
_RUNS = (
    "ALTER TABLE aiki.runs RENAME TO runs_before",
    "ALTER INDEX aiki.runs_pkey RENAME TO runs_before_pkey",
    """
    CREATE TABLE aiki.runs (
      id uuid PRIMARY KEY,
      origin_id uuid NOT NULL,
      created_at timestamptz NOT NULL DEFAULT aiki.now(),
      parent_id uuid,
      parent_generation integer,
      priority smallint NOT NULL DEFAULT 0,
      namespace text NOT NULL,
      workflow text NOT NULL,
      version text NOT NULL,
      key text,
      digest text,
      labels jsonb,
      input bytea NOT NULL,
      attempt smallint NOT NULL DEFAULT 1,
      crash_count smallint NOT NULL DEFAULT 0,
      crash_length integer NOT NULL DEFAULT 0,
      generation integer NOT NULL DEFAULT 0,
      epoch integer NOT NULL DEFAULT 0,
      history_seq integer NOT NULL DEFAULT 0,
      news_seq integer NOT NULL DEFAULT 0,
      unread integer NOT NULL DEFAULT 0,
      children integer,
      watchers integer,
      started_at timestamptz,
      last_claimed_at timestamptz,
      finished_at timestamptz,
      due_at timestamptz,
      news_at timestamptz,
      cancel_seq integer,
      session_id uuid,
      state text NOT NULL,
      claim_id text,
      why text,
      wanted text,
      waits text[],
      output bytea,
      error bytea
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)
    """,
    """
    INSERT INTO aiki.runs (id, origin_id, created_at, priority, namespace, workflow, version, key, digest, labels,
      input, crash_count, crash_length, epoch, history_seq, started_at, last_claimed_at, finished_at, due_at,
      session_id, state, claim_id, why, output, error)
    SELECT id, origin_id, created_at, priority, namespace, workflow, version, key, digest, labels,
      input, crash_count, crash_length, epoch, history_seq, started_at, claimed_at, finished_at, due_at,
      session_id, state, claim_id, why, output, error
    FROM aiki.runs_before
    """,
    "DROP TABLE aiki.runs_before",
)
# Defaults that are constants stand in the catalogue: no other row is written anew. Each new key is a new index.
_COLUMNS = (
    "ALTER TABLE aiki.journal RENAME COLUMN turns TO turns_taken",
    """
    ALTER TABLE aiki.journal
      ADD COLUMN generation integer NOT NULL DEFAULT 0,
      ADD COLUMN asked integer DEFAULT 0,
      ADD COLUMN started_us bigint,
      ADD COLUMN worker text,
      ADD COLUMN arguments bytea,
      DROP CONSTRAINT journal_pkey,
      ADD PRIMARY KEY (run_id, generation, seq)
    """,
    # Of what was written before nobody knows it: as early as can be, which the rows that are there keep.
    "ALTER TABLE aiki.journal ALTER COLUMN asked DROP DEFAULT",
    """
    ALTER TABLE aiki.attempts
      ADD COLUMN generation integer NOT NULL DEFAULT 0,
      ADD COLUMN details bytea,
      ADD COLUMN details_at_us bigint,
      DROP CONSTRAINT attempts_pkey,
      ADD PRIMARY KEY (run_id, generation, key, attempt)
    """,
    """
    ALTER TABLE aiki.task_counts
      ADD COLUMN generation integer NOT NULL DEFAULT 0,
      DROP CONSTRAINT task_counts_pkey,
      ADD PRIMARY KEY (run_id, generation, seq)
    """,
)
_COMMENTS = {
    "COLUMN aiki.runs.attempt": "Which try of the workflow this is; its claims are counted by epoch.",
    "COLUMN aiki.runs.news_seq": "The number of its last arrival.",
    "COLUMN aiki.runs.news_at": "When its last arrival came; the next is later, whatever the clock says.",
    "COLUMN aiki.runs.unread": "Events that came and were not taken.",
    "COLUMN aiki.runs.waits": "What a parked run waits for: event:NAME, op, child; null when it is not parked.",
    "COLUMN aiki.runs.wanted": "pause, if it is to rest when its claim ends.",
    "COLUMN aiki.runs.cancel_seq": "The number of the arrival that cancels it.",
    "COLUMN aiki.runs.children": "How many it has started, if any: none is missed by who tells them.",
    "COLUMN aiki.runs.watchers": "How many wait for its end, if any do.",
    "COLUMN aiki.journal.asked": "How many had been delivered when its call was asked; null: all before it.",
    "COLUMN aiki.attempts.details": "What its last heartbeat said.",
    "TABLE aiki.inbox": "What reaches runs from outside, numbered by each run's own news_seq.",
    "COLUMN aiki.inbox.origin_id": "The run's: a repeated send is known by it in a retry, too.",
    "COLUMN aiki.inbox.taken_seq": "The entry that consumed it.",
    "TABLE aiki.keys": "Which run holds an idempotency key.",
}
_TABLES = (
    """
    CREATE TABLE aiki.inbox (
      run_id uuid NOT NULL,
      number bigint NOT NULL,
      origin_id uuid NOT NULL,
      at_us bigint NOT NULL,
      kind text NOT NULL,
      name text NOT NULL,
      send_id uuid,
      key text,
      digest text,
      value bytea NOT NULL,
      taken_generation integer,
      taken_seq integer,
      PRIMARY KEY (run_id, number)
    )
    """,
    """
    CREATE TABLE aiki.keys (
      namespace text NOT NULL,
      workflow text NOT NULL,
      key text NOT NULL,
      run_id uuid NOT NULL,
      digest text,
      PRIMARY KEY (namespace, workflow, key)
    )
    """,
    """
    INSERT INTO aiki.keys (namespace, workflow, key, run_id, digest)
    SELECT namespace, workflow, key, id, digest FROM aiki.runs WHERE key IS NOT NULL
    """,
)
_INDEXES = (
    "CREATE UNIQUE INDEX inbox_sent ON aiki.inbox (origin_id, send_id) WHERE send_id IS NOT NULL",
    "CREATE UNIQUE INDEX inbox_key ON aiki.inbox (origin_id, name, key) WHERE key IS NOT NULL",
    "CREATE INDEX inbox_unread ON aiki.inbox (run_id, number) WHERE taken_seq IS NULL",
    "CREATE INDEX inbox_taken ON aiki.inbox (at_us, run_id, number) WHERE taken_seq IS NOT NULL",
    "CREATE INDEX runs_continued ON aiki.runs (id) WHERE generation > 0",
    """
    CREATE INDEX runs_suspect ON aiki.runs (namespace, workflow, version)
      WHERE state = 'queued' AND crash_count >= 2
    """,
    """
    CREATE INDEX runs_suspect_running ON aiki.runs (session_id)
      WHERE state = 'running' AND crash_count >= 2
    """,
    "CREATE INDEX runs_running ON aiki.runs (session_id) WHERE state = 'running'",
    """
    CREATE INDEX runs_resting ON aiki.runs (namespace, workflow, version, state, created_at)
      WHERE state IN ('blocked', 'paused', 'retrying', 'scheduled', 'sleeping', 'waiting')
    """,
    "CREATE INDEX runs_due ON aiki.runs (due_at) WHERE state IN ('scheduled', 'sleeping', 'retrying', 'waiting')",
    """
    CREATE INDEX runs_queued ON aiki.runs
      (namespace, workflow, version, priority DESC, (started_at IS NULL), created_at) WHERE state = 'queued'
    """,
    # Not of an empty table: it would count as one of no rows, and plans would begin with a look at all of it, until the
    # next ANALYZE finds millions.
    "DO $$ BEGIN IF EXISTS (SELECT FROM aiki.runs) THEN ANALYZE aiki.runs; END IF; END $$",
)


def upgrade() -> None:
    """Make the functions, columns and tables, give each key to its run, and put columns and queue in another order."""
    for statement in (*_FUNCTIONS, *_DEFAULTS, *_RUNS, *_COLUMNS, *_TABLES):
        op.execute(statement)
    for what, comment in _COMMENTS.items():
        said = comment.replace("'", "''")
        op.execute(f"COMMENT ON {what} IS '{said}'")
    for statement in _INDEXES:
        op.execute(statement)
