"""Own the tables of what stands beside runs: keys, retention, schedules, workers and their routes."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from aikid.store import tables
from aikid.store.schema import DELETED_FROM, NOW, Time

metadata = tables.runs.metadata
"""That of all tables: these, and those of runs."""

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("namespace", sa.Text(), primary_key=True),
    sa.Column("workflow", sa.Text(), primary_key=True),
    # In the order of characters, whatever the database's language: those with one beginning stand side by side.
    sa.Column("key", sa.Text(collation="C"), primary_key=True),
    sa.Column("run_id", UUID(), nullable=False),
    sa.Column("digest", sa.Text()),
    sa.Column("expires_at", Time, comment="Until when it is held though its run is gone; null before that."),
    comment="Which run holds an idempotency key.",
    postgresql_with=DELETED_FROM,
)
sa.Index("keys_expiring", keys.c.expires_at, postgresql_where=sa.text("expires_at IS NOT NULL"))

retention = sa.Table(
    "retention",
    metadata,
    sa.Column("namespace", sa.Text(), primary_key=True),
    sa.Column("workflow", sa.Text(), primary_key=True),
    sa.Column("project", sa.Text()),
    sa.Column("periods", sa.LargeBinary(), nullable=False),
    comment="How long ended runs of a workflow are kept, by state, as manifests say.",
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("id", UUID(), primary_key=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("project", sa.Text(), comment="The manifest that owns it, if one does."),
    sa.Column("workflow", sa.Text(), nullable=False),
    sa.Column("version", sa.Text(), nullable=False),
    sa.Column("input", sa.LargeBinary(), nullable=False),
    sa.Column("spec", sa.LargeBinary(), nullable=False),
    sa.Column("options", sa.LargeBinary(), nullable=False),
    sa.Column("created_at", Time, nullable=False, server_default=NOW),
    sa.Column("updated_at", Time, nullable=False, server_default=NOW),
    sa.Column("revision", sa.BigInteger(), nullable=False, server_default=sa.text("1")),
    sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("vanished", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("note", sa.Text()),
    sa.Column("zones", sa.Text(), nullable=False, comment="The zone data by which due_at was found."),
    sa.Column("decided_us", sa.BigInteger(), nullable=False, comment="All slots up to this one are decided."),
    sa.Column("due_at", Time, comment="When to look at it next; null if there is nothing to look for."),
    sa.Column("last_completed_us", sa.BigInteger()),
    sa.UniqueConstraint("namespace", "name"),
    comment="What enqueues runs by itself. Who changes one holds its row.",
    postgresql_with={"fillfactor": "80"},
)
sa.Index(
    "schedules_owned",
    schedules.c.namespace,
    schedules.c.project,
    schedules.c.name,
    postgresql_where=sa.text("project IS NOT NULL"),
)
sa.Index("schedules_route", schedules.c.namespace, schedules.c.workflow, schedules.c.version)
sa.Index("schedules_due", schedules.c.due_at, postgresql_where=sa.text("due_at IS NOT NULL"))

slots = sa.Table(
    "slots",
    metadata,
    sa.Column("schedule_id", UUID(), primary_key=True),
    sa.Column("kind", sa.Text(), primary_key=True, comment="slot, trigger or backfill."),
    sa.Column("slot_us", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("result", sa.Text(), nullable=False, comment="started, queued, skipped, missed or failed."),
    sa.Column("at", Time, nullable=False, server_default=NOW),
    sa.Column("reason", sa.Text()),
    sa.Column("run_id", UUID()),
    sa.Column("is_open", sa.Boolean(), nullable=False, comment="Whether its run, or what came of it, may go on."),
    sa.Column("until_us", sa.BigInteger(), comment="Up to where slots in a row were missed for one reason."),
    sa.Column("count", sa.Integer(), nullable=False, server_default=sa.text("1")),
    comment="A row for each slot that was decided: one run each, whoever fires it.",
)
sa.Index("slots_at", slots.c.schedule_id, slots.c.at)
# Those whose runs go on, and those that wait for these.
sa.Index("slots_open", slots.c.schedule_id, slots.c.slot_us, postgresql_where=sa.text("is_open OR result = 'queued'"))

task_keys = sa.Table(
    "task_keys",
    metadata,
    sa.Column("namespace", sa.Text(), primary_key=True),
    sa.Column(
        "scope",
        sa.Text(),
        primary_key=True,
        comment="The workflow whose runs share it; empty for all of the namespace.",
    ),
    sa.Column("task", sa.Text(), primary_key=True),
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("run_id", UUID(), nullable=False),
    sa.Column("generation", sa.Integer(), nullable=False),
    sa.Column("epoch", sa.Integer(), nullable=False, comment="Of the claim in which its owner has asked for it last."),
    sa.Column("call", sa.Text(), nullable=False, comment="The key of the owner's call in its journal."),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.Column("at", Time, nullable=False, server_default=NOW, comment="Since when its owner has it."),
    sa.Column("session_id", UUID(), comment="In which a try may still run that its owner has left."),
    sa.Column("done_at", Time),
    sa.Column("expires_at", Time),
    sa.Column("value", sa.LargeBinary()),
    comment="Idempotency keys of tasks across runs: who has each, or what it has come to.",
)
sa.Index("task_keys_expiring", task_keys.c.expires_at, postgresql_where=sa.text("expires_at IS NOT NULL"))
sa.Index("task_keys_owned", task_keys.c.run_id, postgresql_where=sa.text("done_at IS NULL"))

task_key_waiters = sa.Table(
    "task_key_waiters",
    metadata,
    sa.Column("namespace", sa.Text(), primary_key=True),
    sa.Column("scope", sa.Text(), primary_key=True),
    sa.Column("task", sa.Text(), primary_key=True),
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("generation", sa.Integer(), nullable=False),
    sa.Column("call", sa.Text(), nullable=False),
    sa.Column("at", Time, nullable=False, server_default=NOW),
    sa.Column("told_at", Time, comment="When it was told to ask again; null since it has."),
    comment="Runs that wait for a key of a task that another run has.",
)
sa.Index("task_key_waiters_run", task_key_waiters.c.run_id)
_KEY: Final = tuple(task_key_waiters.c[name] for name in ("namespace", "scope", "task", "key"))
sa.Index("task_key_waiters_turn", *_KEY, task_key_waiters.c.at, postgresql_where=sa.text("told_at IS NULL"))
sa.Index("task_key_waiters_told", *_KEY, task_key_waiters.c.told_at, postgresql_where=sa.text("told_at IS NOT NULL"))

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", UUID(), primary_key=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("worker", sa.Text(), nullable=False),
    sa.Column("ttl", sa.Interval(), nullable=False),
    sa.Column("opened_at", Time, nullable=False, server_default=NOW),
    # No index on it: each renewal changes it, and a heap-only update is then all there is to do.
    sa.Column("expires_at", Time, nullable=False),
    sa.Column("closed_at", Time),
    sa.Column("slots", sa.Integer(), comment="Runs that its worker takes at once, if that has said so."),
    sa.Column("draining", sa.Boolean(), nullable=False, server_default=sa.false()),
    postgresql_with={"fillfactor": "50"},
)

session_routes = sa.Table(
    "session_routes",
    metadata,
    sa.Column("session_id", UUID(), primary_key=True),
    sa.Column("workflow", sa.Text(), primary_key=True),
    sa.Column("version", sa.Text(), primary_key=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("fingerprint", sa.Text(), comment="Of the code that this session has."),
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
    sa.Column("timeout_us", sa.BigInteger(), comment="Of its runs, unless their own options have one."),
    sa.Column("cancel_timeout_us", sa.BigInteger()),
    sa.Column("events", sa.LargeBinary(), comment="The schemas of those that it declares, by name."),
    sa.Column("event_names", ARRAY(sa.Text()), comment="All that its runs take; null if they take any."),
    sa.Column("created_at", Time, nullable=False, server_default=NOW),
    sa.Column("registered_at", Time, comment="When a worker last registered it; null if only ever enqueued."),
    sa.Column("fingerprint", sa.Text(), comment="Of the code that last registered it."),
    sa.Column("fingerprint_at", Time, comment="Since when that is its code."),
    sa.Column("retention", sa.LargeBinary(), comment="How long its ended runs are kept, if the code says so."),
    sa.Column("fingerprint_by", sa.Text(), comment="The worker that was the first to have it."),
    sa.Column("fingerprint_session", UUID()),
    sa.Column("earlier", sa.Text(), comment="The fingerprint before this one."),
    sa.Column("earlier_at", Time),
    sa.Column("earlier_by", sa.Text()),
)

minutes = sa.Table(
    "minutes",
    metadata,
    sa.Column("namespace", sa.Text(), primary_key=True),
    sa.Column("workflow", sa.Text(), primary_key=True),
    sa.Column("minute", Time, primary_key=True),
    sa.Column("version", sa.Text(), primary_key=True),
    sa.Column("writer", UUID(), primary_key=True, comment="The daemon, from its start to its end."),
    sa.Column(
        "part",
        sa.Integer(),
        primary_key=True,
        autoincrement=False,
        comment="Of what it wrote: a minute comes in several.",
    ),
    sa.Column("enqueued", sa.Integer(), nullable=False),
    sa.Column("completed", sa.Integer(), nullable=False),
    sa.Column("failed", sa.Integer(), nullable=False),
    sa.Column("cancelled", sa.Integer(), nullable=False),
    sa.Column(
        "buckets",
        ARRAY(sa.SmallInteger()),
        nullable=False,
        comment="How long ended runs took, logarithmic; beside it how many of each.",
    ),
    sa.Column("bucket_runs", ARRAY(sa.Integer()), nullable=False),
    sa.Column("failed_id", UUID(), comment="The run of these that failed last."),
    sa.Column("written_at", Time, nullable=False, server_default=NOW),
    comment="What was done, by the daemons that did it: readers add up, nobody updates.",
    postgresql_with=DELETED_FROM,
)
# For the pruner, which begins with the oldest.
sa.Index("minutes_written", minutes.c.written_at)

sweeps = sa.Table(
    "sweeps",
    metadata,
    sa.Column("one", sa.Boolean(), primary_key=True, server_default=sa.true()),
    sa.Column("swept_at", Time, nullable=False, server_default=NOW),
    sa.CheckConstraint("one", name="sweeps_one_row"),
    comment="When any daemon last looked for dead sessions; a gap means that nobody could, see the rescuer.",
)
