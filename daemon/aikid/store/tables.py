"""Own the tables of runs as SQLAlchemy Core; the migrations must arrive at exactly these, and at those of `standing`.

Times are the database's clock. Payloads are `bytea`: `text` and `jsonb` refuse NUL and lone surrogates and reorder
members. The `runs` row changes state three times in a plain life, so it is narrow, has few and partial indexes and
leaves room on its pages. Every hot write addresses rows by run id, so that the tables can be spread by it later.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from aikid.store.schema import DELETED_FROM, NOW, ZERO, Time, metadata

# What is written once stands first, and what changes behind it: Postgres logs of a row that is changed on its page no
# more than from the first byte that differs to the last. A number behind a text would be moved by its alignment.
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", UUID(), primary_key=True),
    sa.Column("origin_id", UUID(), nullable=False),
    sa.Column("created_at", Time, nullable=False, server_default=NOW),
    sa.Column("parent_id", UUID()),
    sa.Column("parent_generation", sa.Integer()),
    sa.Column("priority", sa.SmallInteger(), nullable=False, server_default=ZERO),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("workflow", sa.Text(), nullable=False),
    sa.Column("version", sa.Text(), nullable=False),
    sa.Column("key", sa.Text()),
    sa.Column("digest", sa.Text()),
    sa.Column("labels", JSONB()),
    sa.Column("input", sa.LargeBinary(), nullable=False),
    sa.Column(
        "attempt",
        sa.SmallInteger(),
        nullable=False,
        server_default=sa.text("1"),
        comment="Which try of the workflow this is; its claims are counted by epoch.",
    ),
    sa.Column("crash_count", sa.SmallInteger(), nullable=False, server_default=ZERO),
    sa.Column("crash_length", sa.Integer(), nullable=False, server_default=ZERO),
    sa.Column("generation", sa.Integer(), nullable=False, server_default=ZERO),
    sa.Column("epoch", sa.Integer(), nullable=False, server_default=ZERO),
    sa.Column("history_seq", sa.Integer(), nullable=False, server_default=ZERO),
    sa.Column(
        "news_seq",
        sa.Integer(),
        nullable=False,
        server_default=ZERO,
        comment="The number of its last arrival.",
    ),
    sa.Column(
        "unread",
        sa.Integer(),
        nullable=False,
        server_default=ZERO,
        comment="Events that came and were not taken.",
    ),
    sa.Column("children", sa.Integer(), comment="How many runs it has started, if any; 0 if others wait for it alone."),
    sa.Column("started_at", Time),
    sa.Column("last_claimed_at", Time),
    sa.Column("finished_at", Time),
    sa.Column("due_at", Time),
    sa.Column("news_at", Time, comment="When its last arrival came; the next is later, whatever the clock says."),
    sa.Column("cancel_seq", sa.Integer(), comment="The number of the arrival that cancels it."),
    sa.Column("session_id", UUID()),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("claim_id", sa.Text()),
    sa.Column("why", sa.Text()),
    sa.Column("wanted", sa.Text(), comment="pause, if it is to rest when its claim ends."),
    sa.Column(
        "waits",
        ARRAY(sa.Text()),
        comment="What a parked run waits for: event:NAME, op, child; null when it is not parked.",
    ),
    sa.Column("output", sa.LargeBinary()),
    sa.Column("error", sa.LargeBinary()),
    sa.Column("depth", sa.SmallInteger(), comment="How many ancestors it has, if any."),
    sa.Column("retry", sa.LargeBinary(), comment="When the workflow itself is tried again, if its options say so."),
    sa.Column("retried_by", UUID(), comment="The run that is its retry."),
    sa.Column(
        "wake_news",
        sa.Integer(),
        comment="The number of the arrival that wakes it at the latest, if it waits for several ends.",
    ),
    sa.Column("began_at", Time, comment="The first claim of its generation; of its first that is started_at."),
    sa.Column("fired", sa.LargeBinary(), comment="The slot of the schedule that it is of, if it is of one."),
    sa.Column(
        "imported", sa.LargeBinary(), comment="Where it was exported from, if it was imported: it is never claimed."
    ),
    sa.Column("starts_at", Time, comment="When it was to start, if that was not at once."),
    postgresql_with={"fillfactor": "70", **DELETED_FROM},
)
# A claim walks this index from the left for each of its routes and stops after `limit` rows.
sa.Index(
    "runs_queued",
    runs.c.namespace,
    runs.c.workflow,
    runs.c.version,
    runs.c.priority.desc(),
    sa.text("(started_at IS NULL)"),
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
sa.Index(
    "runs_due", runs.c.due_at, postgresql_where=sa.text("state IN ('scheduled', 'sleeping', 'retrying', 'waiting')")
)
sa.Index("runs_running", runs.c.session_id, postgresql_where=sa.text("state = 'running'"))
# Those that have left generations behind: the pruner looks for what these still hold.
sa.Index("runs_continued", runs.c.id, postgresql_where=sa.text("generation > 0"))
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
    sa.Column("created_at", Time, nullable=False),
    sa.Column("run_id", UUID(), nullable=False),
    sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column("tail", sa.Integer(), nullable=False, comment="The last 8 digits of the id."),
    sa.Column("is_child", sa.Boolean(), nullable=False, server_default=sa.false()),
    comment="Every run, inserted with it: lists in the order in which runs were stored, and ids by their end.",
    postgresql_with=DELETED_FROM,
)
# New runs come last: this grows at two right ends alone. Roots do not hide behind the children of others.
sa.Index("listing_created", listing.c.namespace, listing.c.is_child, listing.c.created_at)
# The ends of ids are random. In blocks of 65,536 runs new ones fall on few pages, which stay in memory and are written
# to the log whole once in a checkpoint; who looks for an end looks into each block.
sa.Index("listing_tail", listing.c.namespace, sa.text("((number >> 16)::integer)"), listing.c.tail)

children = sa.Table(
    "children",
    metadata,
    sa.Column("parent_id", UUID(), primary_key=True),
    sa.Column(
        "start_id",
        UUID(),
        primary_key=True,
        comment="The id that the parent knows the child by: that of the run which it made.",
    ),
    sa.Column("run_id", UUID(), nullable=False),
    sa.Column("generation", sa.Integer(), nullable=False, comment="Of the parent: an end is told to no other."),
    sa.Column("owned", sa.Boolean(), nullable=False, comment="Whether the start has made the run."),
    sa.Column("parent_close", sa.Text(), nullable=False, comment="cancel, abandon or wait."),
    sa.Column("created_at", Time, nullable=False),
    sa.Column(
        "before", sa.Integer(), nullable=False, server_default=ZERO, comment="How many its parent had started before."
    ),
    comment="A row for each start of a child: the run that it made, or the one with its key that it found.",
    postgresql_with=DELETED_FROM,
)
sa.Index("children_created", children.c.parent_id, children.c.created_at)
# Who waits for a run that another has started.
sa.Index("children_watched", children.c.run_id, postgresql_where=sa.text("NOT owned"))

generations = sa.Table(
    "generations",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("generation", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("history_seq", sa.Integer(), nullable=False, comment="The line of its history that begins it."),
    sa.Column("epoch", sa.Integer(), nullable=False, comment="How many claims there were before."),
    comment="Where the later generations of a run begin.",
)

origins = sa.Table(
    "origins",
    metadata,
    sa.Column("origin_id", UUID(), primary_key=True),
    sa.Column("run_id", UUID(), nullable=False),
    comment="The newest retry of each run that was retried.",
)

errands = sa.Table(
    "errands",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column(
        "kind",
        sa.Text(),
        primary_key=True,
        comment="end: its parent is to hear of it; watched: so are others who wait; close: its children are to end;"
        " left_over: it is gone, and what is left of a large family goes.",
    ),
    sa.Column("upto", sa.Integer(), comment="How many it had started: if it goes on, only these are to end."),
    comment="What is still to be told after a commit: of a run that has ended to whom it concerns, or to its children.",
)

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("value", sa.Text(), nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("run_id", UUID(), nullable=False),
    comment="A row for each label of a run, inserted with it.",
    postgresql_with=DELETED_FROM,
)
sa.Index("labels_created", labels.c.namespace, labels.c.name, labels.c.value, labels.c.created_at)

ended = sa.Table(
    "ended",
    metadata,
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("workflow", sa.Text(), nullable=False),
    sa.Column("version", sa.Text(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("created_at", Time, nullable=False, comment="The run's, since lists are in that order."),
    sa.Column("run_id", UUID(), nullable=False),
    comment="Runs in a terminal state, inserted with their end: lists and counts by state.",
    postgresql_with=DELETED_FROM,
)
sa.Index("ended_state", ended.c.namespace, ended.c.workflow, ended.c.version, ended.c.state, ended.c.created_at)

deadlines = sa.Table(
    "deadlines",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("at", Time, comment="By when the run must have ended; null if it need not, or a cancel has come before."),
    sa.Column("grace", sa.Interval(), comment="How long it may take to end when it was told to, if that was said."),
    sa.Column("told_seq", sa.BigInteger(), comment="The number of the arrival that told it so; 0 if it knew before."),
    sa.Column("look_at", Time, comment="When to look at the run; null when no more, or not before it is resumed."),
    sa.Column("timeout", sa.Interval(), comment="From when it may start: its retry has as long."),
    comment="Of each run with a timeout when that passes, inserted with it.",
    postgresql_with=DELETED_FROM,
)
sa.Index("deadlines_look", deadlines.c.look_at, postgresql_where=sa.text("look_at IS NOT NULL"))

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column(
        "origin_id", UUID(), nullable=False, comment="The run's: a repeated send is known by it in a retry, too."
    ),
    sa.Column("at_us", sa.BigInteger(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("send_id", UUID()),
    sa.Column("key", sa.Text()),
    sa.Column("digest", sa.Text()),
    sa.Column("value", sa.LargeBinary(), nullable=False),
    sa.Column("taken_generation", sa.Integer()),
    sa.Column("taken_seq", sa.Integer(), comment="The entry that consumed it."),
    comment="What reaches runs from outside, numbered by each run's own news_seq.",
    postgresql_with=DELETED_FROM,
)
sa.Index("inbox_sent", inbox.c.origin_id, inbox.c.send_id, unique=True, postgresql_where=sa.text("send_id IS NOT NULL"))
sa.Index(
    "inbox_key",
    inbox.c.origin_id,
    inbox.c.name,
    inbox.c.key,
    unique=True,
    postgresql_where=sa.text("key IS NOT NULL"),
)
sa.Index("inbox_unread", inbox.c.run_id, inbox.c.number, postgresql_where=sa.text("taken_seq IS NULL"))
# What was consumed, oldest first, for the pruner.
sa.Index(
    "inbox_taken",
    inbox.c.at_us,
    inbox.c.run_id,
    inbox.c.number,
    postgresql_where=sa.text("taken_seq IS NOT NULL"),
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("generation", sa.Integer(), primary_key=True, autoincrement=False, server_default=ZERO),
    sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("ok", sa.Boolean(), nullable=False),
    sa.Column("turns_taken", sa.Integer()),
    sa.Column("at_us", sa.BigInteger(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False),
    sa.Column("value", sa.LargeBinary(), nullable=False),
    sa.Column(
        "asked",
        sa.Integer(),
        comment="How many had been delivered when its call was asked; null: all before it.",
    ),
    sa.Column("started_us", sa.BigInteger()),
    sa.Column("worker", sa.Text(), comment="Of a copy alone: of others the claim before it says it."),
    sa.Column("arguments", sa.LargeBinary()),
    comment="Outcomes in the order in which they were delivered; seq counts from 1 without gaps.",
    postgresql_with=DELETED_FROM,
)

task_counts = sa.Table(
    "task_counts",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("generation", sa.Integer(), primary_key=True, autoincrement=False, server_default=ZERO),
    sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("tasks", sa.Integer(), nullable=False),
    comment="How many of a journal's first seq entries are tasks': a row now and then, so that few are left to count.",
    postgresql_with=DELETED_FROM,
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("generation", sa.Integer(), primary_key=True, autoincrement=False, server_default=ZERO),
    sa.Column("key", sa.Text(), primary_key=True),
    sa.Column("attempt", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("at", Time, nullable=False, server_default=NOW),
    sa.Column("next_at_us", sa.BigInteger()),
    sa.Column("error", sa.LargeBinary()),
    sa.Column("epoch", sa.Integer(), nullable=False),
    sa.Column("journal_length", sa.Integer(), nullable=False),
    sa.Column("details", sa.LargeBinary(), comment="What its last heartbeat said."),
    sa.Column("details_at_us", sa.BigInteger()),
    sa.Column("started_us", sa.BigInteger()),
    sa.Column("worker", sa.Text(), comment="Of a copy alone."),
    sa.Column("arguments", sa.LargeBinary()),
    comment="Tries of tasks that were not final; error is null for the start of an at_most_once task.",
    postgresql_with=DELETED_FROM,
)

run_history = sa.Table(
    "run_history",
    metadata,
    sa.Column("run_id", UUID(), primary_key=True),
    sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("at", Time, nullable=False, server_default=NOW),
    sa.Column("move", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text()),
    sa.Column("actor", sa.Text()),
    sa.Column(
        "journal_length",
        sa.Integer(),
        comment="The journal's length when this happened; null where it is that of the event before.",
    ),
    postgresql_with=DELETED_FROM,
)
