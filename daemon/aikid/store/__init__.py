"""The only SQL of the project. Hot statements go through psycopg, tables and cold statements are SQLAlchemy Core."""
