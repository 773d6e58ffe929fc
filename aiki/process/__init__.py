"""What each process of ours is to its surroundings: the text it shows, its stderr, its parent and its signals.

The SDK, the command line and the daemon share it, so it stands on the standard library alone.
"""
