"""Own the processes that run `executor="process"` tasks: spawned, used again, and killed at a timeout.

A child is told the module of the task, its qualified name, the JSON of the arguments and who is running; what comes
back is the JSON of the result, or a `Failure`. Nothing is pickled but names and numbers. `child` is the other side.

A task begins in two steps: a child says that it could begin, and then gets leave. One that ends before its leave has
begun nothing, and another one takes its place: an idle child that the system has killed costs nobody an attempt.
What a child and its tasks have started ends with it, and it ends with its parent, however that came to its end.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from signal import Signals
from typing import TYPE_CHECKING, Any, Final

from aiki.core.errors import UsageError
from aiki.execution.lease import Lease, NotStarted
from aiki.execution.tasks.child import FAILED, NOT_STARTED, READY, Raised, Work, serve
from aiki.execution.tasks.line import BEAT, CANCELLED
from aiki.execution.tasks.threads import Threads
from aiki.inside.task_run import TaskRun
from aiki.process.group import ask_to_end, end_group, is_ended
from aiki.process.imports import first_folders
from aiki.process.spawned import TASK_PROCESS
from aiki.process.stops import stops_held_back
from aiki.wire.codec import decoder

if TYPE_CHECKING:
    from aiki.definitions.task import Task
    from aiki.inside.pulse import Pulse

PREPARE_SECONDS: Final = 300.0
"""For a child to start, and to import the task's module; one that takes longer hangs there."""
_LOOK_SECONDS: Final = 1.0
"""How often to look whether a child lives that says nothing."""
_JOIN_SECONDS: Final = 5.0
_STARTS: Final = 3
"""Children that may end one after the other before a task begins; then the task, or its module, is what ends them."""
_NEVER: Final = 0.0


class ProcessFailure(Exception):
    """A task raised in its process."""

    def __init__(self, raised: Raised) -> None:
        super().__init__(raised.failure.message)
        self.raised = raised


class ProcessDied(Exception):
    """The child ended without an answer: a crash in C code, `os._exit`, or the system was out of memory."""


class Child:
    """One spawned process and the pipe to it."""

    def __init__(self, context: Any) -> None:
        ours, theirs = context.Pipe()
        self._pipe: Connection[Any, Any] = ours
        self._sending = threading.Lock()
        self._is_interrupted = False
        self._process: BaseProcess = context.Process(
            target=serve, args=(theirs, first_folders()), name=TASK_PROCESS, daemon=True
        )
        with stops_held_back():
            self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self._pid = self._process.pid

    def prepare(self, work: Work) -> bytes:
        """Send the work; return READY once it could begin, or the answer that it never can. Raises ProcessDied."""
        self._say(work)
        return self._answer("before the task began; its stderr may tell why", PREPARE_SECONDS)

    def begin(self, certain_until: float, pulse: Pulse) -> bytes:
        """Let the task begin, if the lease is still certain then; return its answer. Raises ProcessDied.

        What it says meanwhile goes to `pulse`.
        """
        self._say(certain_until)
        while (answer := self._answer("in the middle of it"))[:1] == BEAT:
            pulse.beat(answer[1:] or None)
        return answer

    def interrupt(self) -> None:
        """Tell the task that it is to end, from any thread. The child cannot be used again."""
        self._say(CANCELLED)
        self._is_interrupted = True
        ask_to_end(self._pid)

    def is_alive(self) -> bool:
        """Tell whether the child runs."""
        ended = is_ended(self._pid)
        return self._process.is_alive() if ended is None else not ended

    def kill(self) -> None:
        """End the child at once with all that it has started, whatever they do."""
        end_group(self._pid)

    def dismiss(self) -> None:
        """Tell the child that nothing more comes."""
        self._pipe.close()

    def close(self, seconds: float = 0.0) -> None:
        """Give a dismissed child `seconds` to end by itself; then end what is left of its group, and collect it."""
        self._pipe.close()
        self._ends_within(seconds)
        end_group(self._pid)
        self._process.join(_JOIN_SECONDS)

    def _say(self, message: Any) -> None:
        with self._sending, suppress(OSError):  # it has ended: whoever waits for an answer is told how
            self._pipe.send(message)

    def _answer(self, when: str, seconds: float | None = None) -> bytes:
        with suppress(EOFError, OSError):  # its exit code tells more
            if self._answers_within(seconds):
                return self._pipe.recv_bytes()
        raise ProcessDied(f"the task's process {self._last_words()} {when}")

    def _answers_within(self, seconds: float | None) -> bool:
        """Wait for an answer; the end of the pipe does not do, since what a task has started may hold it open."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._pipe.poll(_LOOK_SECONDS):
            overdue = deadline is not None and time.monotonic() > deadline
            if (overdue or not self.is_alive()) and not self._pipe.poll():
                return False
            if self._is_interrupted:
                # Again: Python does not hear one that comes between its last look and a call of the system.
                ask_to_end(self._pid)
        return True

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def _last_words(self) -> str:
        """Return how the child came to its end; it is over and collected then."""
        ended = self._ends_within(_JOIN_SECONDS)
        self.close()
        code = self._process.exitcode
        if not ended or code is None:
            return "did not answer, and was killed"
        if code == -Signals.SIGKILL:
            return "was killed by SIGKILL (as the system does when memory is short)"
        with suppress(ValueError):
            return f"was ended by {Signals(-code).name}"
        return f"ended with exit code {code}"


class Processes:
    """At most `limit` children, made as they are needed, and a thread for each that waits for it.

    Whoever waits for a child waits in the queue of `threads`, and so takes no thread from plain tasks.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.threads = Threads(limit or os.cpu_count() or 1)
        self._context = multiprocessing.get_context("spawn")
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._closed = False
        self._is_tied = False
        """Whether our exit ends the children."""

    def close(self) -> None:
        """End all children: those at work at once."""
        self.threads.close()
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for child in self._busy:
                child.kill()  # whoever has borrowed it gives it back
        for child in idle:
            child.dismiss()
        deadline = time.monotonic() + _JOIN_SECONDS
        for child in idle:
            child.close(deadline - time.monotonic())

    def borrow(self) -> Child:
        """Return a child for one job; to be called in one of `threads`. Give it back by `give_back`.

        Raises NotStarted once this is closed.
        """
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_alive():
                    self._busy.add(child)
                    return child
                child.close()  # it died between two jobs, and shall cost nobody an attempt
        child = Child(self._context)
        with self._lock:
            if not self._is_tied:
                self._is_tied = True
                # Comes before multiprocessing's own, which would wait for children that pass over its SIGTERM.
                atexit.register(self.close)
            self._busy.add(child)
            if not self._closed:
                return child
        self.give_back(child, usable=False)
        raise NotStarted

    def give_back(self, child: Child, *, usable: bool) -> None:
        """Take a child back after its job; one that was killed or died is collected."""
        with self._lock:
            usable = usable and not self._closed
            self._busy.discard(child)
            if usable:
                self._idle.append(child)
        if not usable:
            child.close()


class ProcessJob:
    """One try of a task in a process: `run` blocks in a thread, `kill` may come from another."""

    def __init__(
        self,
        processes: Processes,
        task: Task[Any, Any],
        arguments: bytes,
        who: tuple[TaskRun, str, Pulse],
        lease: Lease,
    ) -> None:
        """`who` is what the task is told of its run, of which life that is, and the pulse of the try."""
        run, life, pulse = who
        self._processes = processes
        self._lease = lease
        self._pulse = pulse
        told = (run.run_id, life, run.key, run.attempt, pulse.said)
        self._work: Work = (*_address(task), arguments, task.retry, *told)
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._killed = False
        self._interrupted = False

    def run(self, ready: Callable[[], None]) -> bytes:
        """Return the encoded result; `ready` is called once a child could begin, before it gets leave.

        Raises ProcessFailure, NotStarted, or ProcessDied if the child ended or was killed.
        """
        child, answer = self._prepared()
        usable = False
        try:
            if answer == READY:
                answer = child.begin(self._leave(ready), self._pulse)
            usable = True
        finally:
            self._give_back(child, usable=usable)
        if answer == NOT_STARTED:
            raise NotStarted
        if answer[:1] == FAILED:
            raise ProcessFailure(decoder(Raised).decode(answer[1:]))
        return answer[1:]

    def interrupt(self) -> None:
        """Have the task told that it is to end, if it runs."""
        with self._lock:
            self._interrupted = True
            if self._child is not None:
                self._child.interrupt()

    def kill(self) -> None:
        """End the child, if it is at this job."""
        with self._lock:
            self._killed = True
            if self._child is not None:
                self._child.kill()

    def _leave(self, ready: Callable[[], None]) -> float:
        try:
            ready()
        except NotStarted:
            return _NEVER  # the child waits for a word, and can be used again after this one
        return self._lease.certain_until

    def _prepared(self) -> tuple[Child, bytes]:
        """Return a child that could begin, or has said that it cannot; those that end before are replaced."""
        for _ in range(_STARTS - 1):
            with suppress(ProcessDied):
                return self._prepare()
        return self._prepare()

    def _prepare(self) -> tuple[Child, bytes]:
        if self._killed:
            raise NotStarted
        child = self._processes.borrow()
        if not self._take(child):
            self._processes.give_back(child, usable=True)
            raise NotStarted
        try:
            return child, child.prepare(self._work)
        except BaseException:
            self._give_back(child, usable=False)
            raise

    def _take(self, child: Child) -> bool:
        """Let `kill` reach the child, unless it came before; tell which."""
        with self._lock:
            if not self._killed:
                self._child = child
            return not self._killed

    def _give_back(self, child: Child, *, usable: bool) -> None:
        with self._lock:
            usable = usable and not ((self._killed or self._interrupted) and self._child is child)
            self._child = None
        self._processes.give_back(child, usable=usable)


def _address(task: Task[Any, Any]) -> tuple[str, str]:
    module, name = task.fn.__module__, task.fn.__qualname__
    if "<locals>" in name:
        raise UsageError(
            f'task {task.name!r} has executor="process" and is defined inside a function',
            hint="define it at the top of its module, where another process can import it",
        )
    return module, name
