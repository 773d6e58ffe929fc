"""The `aiki` command. It uses only the public SDK."""
