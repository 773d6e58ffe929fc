"""The worker process: it pulls hints, claims runs, executes them and records what they come to."""

from aiki.worker.worker import Worker

__all__ = ["Worker"]
