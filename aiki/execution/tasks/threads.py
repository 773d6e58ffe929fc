"""Own the threads that run plain `def` tasks: a pool whose threads can be abandoned.

A thread cannot be stopped. One whose task timed out is given up: it no longer counts against the limit, its result
is ignored, and it ends when its task does. The threads are daemons, so that none of them keeps a process alive.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_LIMIT: Final = 40
_numbers = itertools.count(1)


class Job:
    """A piece of work given to the pool."""

    __slots__ = ("abandoned", "running", "work")

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.running = False
        self.abandoned = False


class Threads:
    """At most `limit` threads, made as they are needed."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._idle = 0
        self._count = 0
        self._closed = False

    def submit(self, work: Callable[[], None]) -> Job:
        """Run `work` in a thread as soon as one is free. It must not raise."""
        job = Job(work)
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._count < self._limit:
                self._count += 1
                threading.Thread(target=self._serve, name=f"aiki-task-{next(_numbers)}", daemon=True).start()
        return job

    def abandon(self, job: Job) -> None:
        """Forget a job: one that waits is not started; the thread of one that runs is given up."""
        with self._changed:
            if job.abandoned:
                return
            job.abandoned = True
            if job.running:
                self._count -= 1
                if self._jobs and self._idle < len(self._jobs):
                    self._count += 1
                    threading.Thread(target=self._serve, name=f"aiki-task-{next(_numbers)}", daemon=True).start()

    def close(self) -> None:
        """End the idle threads; those at work end when their task does."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            job.work()
            with self._changed:
                job.running = False
                if job.abandoned:
                    return  # abandon() no longer counts this thread

    def _next(self) -> Job | None:
        with self._changed:
            while True:
                while self._jobs:
                    job = self._jobs.popleft()
                    if not job.abandoned:
                        job.running = True
                        return job
                if self._closed:
                    self._count -= 1
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
