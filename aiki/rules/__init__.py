"""The rules by which runs change, pure: what the daemon decides in Python, and what its SQL is checked against."""
