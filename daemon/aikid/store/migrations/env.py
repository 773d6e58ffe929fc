"""Run Alembic's migrations on the connection that `aikid.store.migrate` passes in; there is no other way in."""

from alembic import context

from aikid.store.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
    transactional_ddl=True,
)
context.run_migrations()
