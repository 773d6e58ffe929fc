"""After the commit: who is told of what it changed. Best effort."""
