"""The engine in memory: runs and what becomes of them, by the rules that aikid goes by, in plain objects."""
