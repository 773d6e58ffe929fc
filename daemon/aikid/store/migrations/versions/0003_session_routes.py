"""Which routes a session serves, in a table of its own: whether somebody serves a route is one look into its index."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    """
    CREATE TABLE aiki.session_routes (
      session_id uuid NOT NULL,
      workflow text NOT NULL,
      version text NOT NULL,
      namespace text NOT NULL,
      PRIMARY KEY (session_id, workflow, version)
    )
    """,
    "COMMENT ON TABLE aiki.session_routes IS 'What each session serves; written once, when it is opened.'",
    "CREATE INDEX session_routes_served ON aiki.session_routes (namespace, workflow, version)",
    """
    INSERT INTO aiki.session_routes (session_id, workflow, version, namespace)
    SELECT s.id, served.route ->> 0, served.route ->> 1, s.namespace
    FROM aiki.sessions s CROSS JOIN LATERAL jsonb_array_elements(s.routes) AS served(route)
    WHERE s.closed_at IS NULL ON CONFLICT DO NOTHING
    """,
    "ALTER TABLE aiki.sessions DROP COLUMN routes",
)


def upgrade() -> None:
    """Move the routes of sessions to a table."""
    for statement in STATEMENTS:
        op.execute(statement)
