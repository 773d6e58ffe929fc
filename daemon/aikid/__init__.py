"""The daemon: it owns storage and publishes runs, and never runs user code."""
