"""Own the tables of schema `aiki` as SQLAlchemy Core; the migrations must arrive at exactly these.

Times are the database's clock. Payloads are `bytea`: `text` and `jsonb` refuse NUL and lone surrogates and reorder
members. The `runs` row changes state three times in a plain life, so it is narrow, has few and partial indexes and
leaves room on its pages. Every hot write addresses rows by run id, so that the tables can be spread by it later.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

SCHEMA: Final = "aiki"

metadata = sa.MetaData(schema=SCHEMA)

_Time = sa.DateTime(timezone=True)
_now = sa.text("now()")
_zero = sa.text("0")

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", UUID(), primary_key=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("workflow", sa.Text(), nullable=False),
    sa.Column("version", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("priority", sa.SmallInteger(), nullable=False, server_default=_zero),
    sa.Column("epoch", sa.Integer(), nullable=False, server_default=_zero),
    sa.Column("history_seq", sa.Integer(), nullable=False, server_default=_zero),
    sa.Column("crash_length", sa.Integer(), nullable=False, server_default=_zero),
    sa.Column("crash_count", sa.SmallInteger(), nullable=False, server_default=_zero),
    sa.Column("created_at", _Time, nullable=False, server_default=_now),
    sa.Column("started_at", _Time),
    sa.Column("claimed_at", _Time),
    sa.Column("finished_at", _Time),
    sa.Column("due_at", _Time),
    sa.Column("session_id", UUID()),
    sa.Column("claim_id", sa.Text()),
    sa.Column("origin_id", UUID(), nullable=False),
    sa.Column("key", sa.Text()),
    sa.Column("digest", sa.Text()),
    sa.Column("labels", JSONB()),
    sa.Column("why", sa.Text()),
    sa.Column("input", sa.LargeBinary(), nullable=False),
    sa.Column("output", sa.LargeBinary()),
    sa.Column("error", sa.LargeBinary()),
    postgresql_with={"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.02"},
)
# A claim walks this index from the left for each of its routes and stops after `limit` rows.
sa.Index(
    "runs_queued",
    runs.c.namespace,
    runs.c.workflow,
    runs.c.version,
    sa.text("(started_at IS NULL)"),
    runs.c.priority.desc(),
    runs.c.created_at,
    postgresql_where=sa.text("state = 'queued'"),
)
sa.Index(
    "runs_suspect",
    runs.c.namespace,
    runs.c.workflow,
    runs.c.version,
    postgresql_where=sa.text("state = 'queued' AND crash_count >= 2"),
)
sa.Index(
    "runs_suspect_running",
    runs.c.session_id,
    postgresql_where=sa.text("state = 'running' AND crash_count >= 2"),
)
sa.Index("runs_due", runs.c.due_at, postgresql_where=sa.text("state IN ('scheduled', 'sleeping', 'retrying')"))
sa.Index("runs_running", runs.c.session_id, postgresql_where=sa.text("state = 'running'"))
sa.Index(
    "runs_key", runs.c.namespace, runs.c.workflow, runs.c.key, unique=True, postgresql_where=sa.text("key IS NOT NULL")
)
# Who looks for what waits or is stuck: only coming to rest writes here, neither a claim nor an end does.
sa.Index(
    "runs_resting",
    runs.c.namespace,
    runs.c.workflow,
    runs.c.version,
    runs.c.state,
    runs.c.created_at,
    postgresql_where=sa.text("state IN ('blocked', 'paused', 'retrying', 'scheduled', 'sleeping', 'waiting')"),
)

# What only readers ask for stands beside the hot row: written once, never updated, with no column more than is asked.
listing = sa.Table(
    "listing",
    metadata,
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("run_id", UUID(), nullable=False),
    sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column("tail", sa.Integer(), nullable=False, comment="The last 8 digits of the id."),
    comment="Every run, inserted with it: lists in the order in which runs were stored, and ids by their end.",
)
# New runs come last: this grows at its right end alone.
sa.Index("listing_created", listing.c.namespace, listing.c.created_at)
# The ends of ids are random. In blocks of 65,536 runs new ones fall on few pages, which stay in memory and are written
# to the log whole once in a checkpoint; who looks for an end looks into each block.
sa.Index("listing_tail", listing.c.namespace, sa.text("((number >> 16)::integer)"), listing.c.tail)

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("value", sa.Text(), nullable=False),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("run_id", UUID(), nullable=False),
    comment="A row for each label of a run, inserted with it.",
)
sa.Index("labels_created", labels.c.namespace, labels.c.name, labels.c.value, labels.c.created_at)

ended = sa.Table(
    "ended",
    metadata,
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("workflow", sa.Text(), nullable=False),
    sa.Column("version", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("created_at", _Time, nullable=False, comment="The run's, since lists are in that order."),
    sa.Column("run_id", UUID(), nullable=False),
    comment="Runs in a terminal state, inserted with their end: lists and counts by state.",
)
sa.Index("ended_state", ended.c.namespace, ended.c.workflow, ended.c.version, ended.c.state, ended.c.created_at)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("ok", sa.Boolean(), nullable=False),
    sa.Column("turns", sa.Integer()),
    sa.Column("at_us", sa.BigInteger(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False),
    sa.Column("value", sa.LargeBinary(), nullable=False),
    comment="Outcomes in the order in which they were delivered; seq counts from 1 without gaps.",
)

task_counts = sa.Table(
    "task_counts",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("tasks", sa.Integer(), nullable=False),
    comment="How many of a journal's first seq entries are tasks': a row now and then, so that few are left to count.",
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("attempt", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("at", _Time, nullable=False, server_default=_now),
    sa.Column("next_at_us", sa.BigInteger()),
    sa.Column("error", sa.LargeBinary()),
    sa.Column("epoch", sa.Integer(), nullable=False),
    sa.Column("journal_length", sa.Integer(), nullable=False),
    comment="Tries of tasks that were not final; error is null for the start of an at_most_once task.",
)

run_history = sa.Table(
    "run_history",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("at", _Time, nullable=False, server_default=_now),
    sa.Column("move", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text()),
    sa.Column("actor", sa.Text()),
    sa.Column(
        "journal_length",
        sa.Integer(),
        comment="The journal's length when this happened; null where it is that of the event before.",
    ),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", UUID(), primary_key=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("worker", sa.Text(), nullable=False),
    sa.Column("ttl", sa.Interval(), nullable=False),
    sa.Column("opened_at", _Time, nullable=False, server_default=_now),
    # No index on it: each renewal changes it, and a heap-only update is then all there is to do.
    sa.Column("expires_at", _Time, nullable=False),
    sa.Column("closed_at", _Time),
    postgresql_with={"fillfactor": "50"},
)

session_routes = sa.Table(
    "session_routes",
    metadata,
    sa.Column("session_id", UUID(), primary_key=True),
    sa.Column("workflow", sa.Text(), primary_key=True),
    sa.Column("version", sa.Text(), primary_key=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    comment="What each session serves; only ever added to, while it lives.",
)
# Whether a route is served is asked at each status of a queued run, however many sessions there are.
sa.Index("session_routes_served", session_routes.c.namespace, session_routes.c.workflow, session_routes.c.version)

routes = sa.Table(
    "routes",
    metadata,
    sa.Column("namespace", sa.Text(), primary_key=True),
    sa.Column("workflow", sa.Text(), primary_key=True),
    sa.Column("version", sa.Text(), primary_key=True),
    sa.Column("parameters", sa.LargeBinary()),
    sa.Column("task_names", JSONB()),
    sa.Column("created_at", _Time, nullable=False, server_default=_now),
    sa.Column("registered_at", _Time, comment="When a worker last registered it; null if only ever enqueued."),
)

sweeps = sa.Table(
    "sweeps",
    metadata,
    sa.Column("one", sa.Boolean(), primary_key=True, server_default=sa.true()),
    sa.Column("swept_at", _Time, nullable=False, server_default=_now),
    sa.CheckConstraint("one", name="sweeps_one_row"),
    comment="When any daemon last looked for dead sessions; a gap means that nobody could, see the rescuer.",
)
