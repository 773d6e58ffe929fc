"""What reaches a run: an inbox beside it, generations, who holds a key, and one clock for all statements.

Two columns get other names, so that Postgres refuses each enqueue, claim and record of an aikid of the former version
that still runs. It would park a run without a look at its news and take a key that it does not see; as it is, it
answers `Unavailable`, which another aikid's answer follows.
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
    "ALTER TABLE aiki.runs ALTER COLUMN created_at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.attempts ALTER COLUMN at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.run_history ALTER COLUMN at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.sessions ALTER COLUMN opened_at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.routes ALTER COLUMN created_at SET DEFAULT aiki.now()",
    "ALTER TABLE aiki.sweeps ALTER COLUMN swept_at SET DEFAULT aiki.now()",
)
_RENAMES = (
    "ALTER TABLE aiki.runs RENAME COLUMN claimed_at TO last_claimed_at",
    "ALTER TABLE aiki.journal RENAME COLUMN turns TO turns_taken",
)
# Defaults that are constants stand in the catalogue: no row is written anew. Each new key is a new index.
_COLUMNS = (
    """
    ALTER TABLE aiki.runs
      ADD COLUMN generation integer NOT NULL DEFAULT 0,
      ADD COLUMN attempt smallint NOT NULL DEFAULT 1,
      ADD COLUMN news_seq bigint NOT NULL DEFAULT 0,
      ADD COLUMN news_at timestamptz,
      ADD COLUMN unread integer NOT NULL DEFAULT 0,
      ADD COLUMN waits text[],
      ADD COLUMN wanted text,
      ADD COLUMN cancel_seq bigint,
      ADD COLUMN parent_id uuid,
      ADD COLUMN parent_generation integer,
      ADD COLUMN children integer NOT NULL DEFAULT 0,
      ADD COLUMN watchers integer NOT NULL DEFAULT 0
    """,
    """
    ALTER TABLE aiki.journal
      ADD COLUMN generation integer NOT NULL DEFAULT 0,
      ADD COLUMN asked integer NOT NULL DEFAULT 0,
      ADD COLUMN started_us bigint,
      ADD COLUMN worker text,
      ADD COLUMN arguments bytea,
      DROP CONSTRAINT journal_pkey,
      ADD PRIMARY KEY (run_id, generation, seq)
    """,
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
    "COLUMN aiki.runs.news_at": "When that came; the next is later, whatever the clock says.",
    "COLUMN aiki.runs.unread": "Events that came and were not taken.",
    "COLUMN aiki.runs.waits": "What a parked run waits for: event:NAME, op, child; null when it is not parked.",
    "COLUMN aiki.runs.wanted": "pause, if it is to rest when its claim ends.",
    "COLUMN aiki.runs.cancel_seq": "The number of the arrival that cancels it.",
    "COLUMN aiki.runs.children": "How many it has started: none is missed by who tells them.",
    "COLUMN aiki.runs.watchers": "How many wait for its end.",
    "COLUMN aiki.journal.asked": "How many had been delivered when its call was asked.",
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
    "DROP INDEX aiki.runs_key",
    "DROP INDEX aiki.runs_due",
    "DROP INDEX aiki.runs_queued",
    "CREATE INDEX runs_due ON aiki.runs (due_at) WHERE state IN ('scheduled', 'sleeping', 'retrying', 'waiting')",
    """
    CREATE INDEX runs_queued ON aiki.runs
      (namespace, workflow, version, priority DESC, (started_at IS NULL), created_at) WHERE state = 'queued'
    """,
)


def upgrade() -> None:
    """Make the functions, columns and tables, give each key to its run, and put the queue in another order."""
    for statement in (*_FUNCTIONS, *_DEFAULTS, *_RENAMES, *_COLUMNS, *_TABLES):
        op.execute(statement)
    for what, comment in _COMMENTS.items():
        said = comment.replace("'", "''")
        op.execute(f"COMMENT ON {what} IS '{said}'")
    for statement in _INDEXES:
        op.execute(statement)
