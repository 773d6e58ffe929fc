"""What the daemon does for its callers, batch-first: one function carries out many requests in one transaction."""
