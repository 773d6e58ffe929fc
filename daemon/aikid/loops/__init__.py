"""What the daemon does by itself: wake what is due, rescue what died, take back what came to nobody."""
