"""Change the labels of runs, on their rows and in the side table that lists walk: in the commit of a unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiki.wire.codec import encode
from aikid.store import prepared
from aikid.store.arrays import Texts, Uuids
from aikid.store.pool import Connection

# The rows were locked by the statement before, in this transaction: what is read here is how they stand. `labels` is
# looked into by `labels_created`, for each label that a run had: what stays is not touched. Primary key of the rows.
_PUT: Final = """
WITH given AS MATERIALIZED (
  SELECT r.id, r.namespace, r.created_at, coalesce(r.labels, '{}') AS before, g.labels::jsonb AS labels
  FROM unnest(%b, %b) AS g(run_id, labels) JOIN aiki.runs r ON r.id = g.run_id
), moved AS (
  UPDATE aiki.runs r SET labels = NULLIF(g.labels, '{}') FROM given g WHERE r.id = g.id
), gone AS (
  DELETE FROM aiki.labels l USING given g CROSS JOIN LATERAL jsonb_each_text(g.before) AS b
  WHERE l.namespace = g.namespace AND l.name = b.key AND l.value = b.value AND l.created_at = g.created_at
    AND l.run_id = g.id AND g.labels ->> b.key IS DISTINCT FROM b.value
)
INSERT INTO aiki.labels (namespace, name, value, created_at, run_id)
SELECT g.namespace, n.key, n.value, g.created_at, g.id
FROM given g CROSS JOIN LATERAL jsonb_each_text(g.labels) AS n WHERE g.before ->> n.key IS DISTINCT FROM n.value
"""


async def put(connection: Connection, labels: Mapping[str, Mapping[str, str]]) -> None:
    """Give these runs, by id, these labels and no others."""
    texts = [encode(dict(each)).decode() for each in labels.values()]
    await prepared.rows(connection, _PUT, [Uuids(list(labels)), Texts(texts)])
