"""What the daemon does by itself: wake what is due, rescue what died. Each has a `run_once`."""
