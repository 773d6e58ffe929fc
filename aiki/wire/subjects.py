"""Own the names on NATS: subjects, the hint stream, and the token rule that keeps them apart.

`aiki.v1.<namespace>.api.<op>`            requests, served by the queue group `aikid`
`aiki.v1.<namespace>.run.<workflow>.<v>`  hints, one subject and one durable consumer per route
`aiki.v1.<namespace>.news.<run_id>`       pushes between daemons: this run has changed
`aiki.v1.<namespace>.park`                pushes of workers to all daemons: runs may be handed over
`aiki.v1.<namespace>.took.<daemon>.<n>`   pushes of workers to one daemon: its nth hand-over has come
`aiki.v1.<namespace>.looked.<daemon>.<n>` answers of workers to one daemon: what stands in memory of a run
`_INBOX.told.<namespace>.<session>`       pushes to a worker: runs that it holds have news
`_INBOX.look.<namespace>.<session>`       questions to a worker: what stands in memory of a run
"""

import re
from typing import Final

PREFIX: Final = "aiki.v1"
QUEUE_GROUP: Final = "aikid"
HINT_STREAM: Final = "AIKI_RUNS"
HINT_SUBJECTS: Final = f"{PREFIX}.*.run.>"

TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
VERSION: Final = re.compile(r"[A-Za-z0-9_.+-]{1,32}")


def is_token(text: str) -> bool:
    """Tell whether `text` may name a namespace, workflow or task: 1 to 64 of A-Z a-z 0-9 _ -."""
    return TOKEN.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Tell whether `text` may be a workflow version: 1 to 32 of A-Z a-z 0-9 _ . + -."""
    return VERSION.fullmatch(text) is not None


def version_token(version: str) -> str:
    """Return the version as a NATS token; different versions give different tokens.

    `.` and `+` cannot stand in a token. `_` is the escape: `_` -> `__`, `.` -> `_d`, `+` -> `_p`.
    """
    return version.replace("_", "__").replace(".", "_d").replace("+", "_p")


def api(namespace: str, op: str) -> str:
    """Return the subject on which `op` is served for the namespace."""
    return f"{PREFIX}.{namespace}.api.{op}"


def hint(namespace: str, workflow: str, version: str) -> str:
    """Return the subject of the route's hints."""
    return f"{PREFIX}.{namespace}.run.{workflow}.{version_token(version)}"


def consumer(namespace: str, workflow: str, version: str) -> str:
    """Return the name of the route's durable consumer.

    Two routes never share one: the parts are tokens, so `=` cannot stand inside them.
    """
    return f"{namespace}={workflow}={version_token(version)}"


def news(namespace: str, run_id: str) -> str:
    """Return the subject that says "this run has changed"."""
    return f"{PREFIX}.{namespace}.news.{run_id}"


def told(namespace: str, session: str) -> str:
    """Return the subject that says to a worker session: there is news for runs that you hold.

    An inbox, since those are all that a worker has the right to hear; nobody but daemons knows its session's id.
    """
    return f"_INBOX.told.{namespace}.{session}"


def look(namespace: str, session: str) -> str:
    """Return the subject on which a worker session is asked what stands in memory of a run: an inbox, as `told` is."""
    return f"_INBOX.look.{namespace}.{session}"


def looked(namespace: str, daemon: str, question: str) -> str:
    """Return the subject on which a worker answers this; it may publish there, as in all its namespace."""
    return f"{PREFIX}.{namespace}.looked.{daemon}.{question}"


def park(namespace: str) -> str:
    """Return the subject on which workers tell all daemons what may be handed over to them."""
    return f"{PREFIX}.{namespace}.park"


def took(namespace: str, daemon: str, hand_over: str) -> str:
    """Return the subject that says "this hand-over has come"; a worker may publish there, as in all its namespace."""
    return f"{PREFIX}.{namespace}.took.{daemon}.{hand_over}"
