"""What has happened, on the code at hand: recorded runs, from a server or a file, replayed without effect."""
