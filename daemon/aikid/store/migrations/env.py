"""Run Alembic's migrations on the connection that `aikid.store.migrate` passes in; there is no other way in."""

from alembic import context

from aikid.store.schema import SCHEMA
from aikid.store.standing_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
    transactional_ddl=True,
)
context.run_migrations()
