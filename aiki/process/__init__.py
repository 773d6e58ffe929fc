"""What each process of ours is to its surroundings: the text it shows, its stderr, and the process that started it.

The SDK, the command line and the daemon share it, so it stands on the standard library alone.
"""
