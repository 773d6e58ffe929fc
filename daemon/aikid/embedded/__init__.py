"""A real Postgres and a real nats-server as children of this process, on data that survives restarts.

For one machine and for tests; a deployment brings its own servers and never imports this package.
"""
