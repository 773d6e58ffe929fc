"""The tasks of one claimed run: calls that were let go, and where their functions run."""
