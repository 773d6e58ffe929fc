"""Own the replay of many runs, each in a process that it may block, break or end: that costs the run alone.

There is a process for each core. Each imports the code at hand once and is handed one run after the other, some of them
ahead. Whoever takes too long for a run, or ends in the middle of it, is replaced; the others that it had are given to
the next one. All of them end with us.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiki.core.errors import ConfigError
from aiki.process.group import end_group
from aiki.process.parent import die_with
from aiki.replay.judging import verdict
from aiki.replay.parcels import LENGTH, Answer, Judged, Ready, Setup, Stuck, framed, packed, read_answer
from aiki.replay.recording import Recording
from aiki.replay.verdicts import Finding, Verdict
from aiki.wire.codec import encode

RUN_SECONDS: Final = 10.0
IMPORT_SECONDS: Final = 120.0
"""How long the code at hand may take to be imported."""
_GRACE_SECONDS: Final = 2.0
"""What a process gets more, to say where it stands."""
_AHEAD_RUNS: Final = 8
_AHEAD_BYTES: Final = 1 << 20
"""How much one process may have been given beside the run that it is at."""
_WORD_BYTES: Final = 1 << 26
_FOUND: Final = 1_000
_ENDS_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Code:
    """The code at hand, and how runs are replayed on it."""

    modules: Sequence[str]
    """Their dotted names."""
    folders: Sequence[Path] = ()
    """Where they are looked for first."""
    as_version: str | None = None
    """On which version all runs are replayed; else each on its own."""
    run_seconds: float = RUN_SECONDS
    """How long one may take."""


async def replay_apart(
    recordings: AsyncGenerator[Recording, None], code: Code, *, processes: int | None = None
) -> AsyncGenerator[Verdict, None]:
    """Yield the verdict on each run as it is found, in any order. What cannot be imported costs its runs alone.

    `processes` are as many as there are cores, if nobody says otherwise. Raises ConfigError if nothing can be imported,
    and whatever the reading of the recordings raises. Close it: then all processes have ended.
    """
    count = processes or os.cpu_count() or 1
    jobs: asyncio.Queue[Recording | None] = asyncio.Queue(_AHEAD_RUNS)
    found: asyncio.Queue[Verdict | Exception | None] = asyncio.Queue(_FOUND)

    async def watched(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - it is raised below, where it is waited for
            await found.put(error)
        else:
            await found.put(None)

    works = [
        _hand_out(recordings, jobs, count),
        *(_Hand(code, jobs, found).work(at_once=not place) for place in range(count)),
    ]
    tasks = [asyncio.create_task(watched(work)) for work in works]
    try:
        left = len(tasks)
        while left:
            match await found.get():
                case None:
                    left -= 1
                case Exception() as error:
                    raise error
                case verdict:
                    yield verdict
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _hand_out(
    recordings: AsyncGenerator[Recording, None], jobs: asyncio.Queue[Recording | None], count: int
) -> None:
    async with aclosing(recordings):
        async for recording in recordings:
            await jobs.put(recording)
    for _ in range(count):
        await jobs.put(None)


class _Hand:
    """One process after the other, and the runs that it has been given."""

    def __init__(
        self, code: Code, jobs: asyncio.Queue[Recording | None], found: asyncio.Queue[Verdict | Exception | None]
    ) -> None:
        self._code = code
        self._jobs = jobs
        self._found = found
        self._given: deque[tuple[Recording, bytes]] = deque()
        self._is_over = False
        """No run comes any more."""

    async def work(self, *, at_once: bool) -> None:
        """Have runs replayed until there are no more; with `at_once` the first process does not wait for one."""
        while at_once or self._given or await self._take() is not None:
            child = _Child()
            try:
                await child.prepare(self._code)
                if at_once:
                    at_once = False
                    await self._take()
                await self._use(child)
            finally:
                child.close()

    async def _use(self, child: _Child) -> None:
        """Have one process replay runs until there are no more, or it is of no more use."""
        for _, word in self._given:
            child.say(word)
        while self._given:
            answer = await child.answer(self._code.run_seconds + _GRACE_SECONDS)
            recording, _ = self._given.popleft()
            await self._found.put(_found(recording, self._code, answer, child))
            if not isinstance(answer, Judged):
                return
            while (further := await self._take()) is not None:
                child.say(further)

    async def _take(self) -> bytes | None:
        """Take a run, waiting for one only if there is none; None if there is none, or no room for it."""
        if self._is_over or len(self._given) >= _AHEAD_RUNS:
            return None
        if self._given and (self._jobs.empty() or sum(len(word) for _, word in self._given) > _AHEAD_BYTES):
            return None
        recording = await self._jobs.get()
        if recording is None:
            self._is_over = True
            return None
        word = framed(packed(recording))
        self._given.append((recording, word))
        return word


class _Child:
    """One process, and the words to and from it."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        sees_our_end, self._tie = os.pipe()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.is_late = False
        """It has said nothing for too long."""
        us, fds = os.getpid(), (theirs.fileno(), sees_our_end)
        try:
            with warnings.catch_warnings():
                # From 3.12 on Python warns of forks beside threads; between this one and its exec no lock is taken.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "aiki.replay.child", *map(str, fds)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONHASHSEED": "0"},
                    pass_fds=fds,
                    start_new_session=True,
                    preexec_fn=lambda: die_with(us, signal.SIGKILL),
                )
        finally:
            theirs.close()
            os.close(sees_our_end)

    async def prepare(self, code: Code) -> None:
        """Have it import the code at hand. Raises ConfigError if nothing of that can be imported."""
        self._streams = await asyncio.open_connection(sock=self._line, limit=_WORD_BYTES)
        modules, folders = [*code.modules], [str(folder) for folder in code.folders]
        self.say(framed(encode(Setup(modules, folders, code.as_version, code.run_seconds))))
        answer = await self.answer(IMPORT_SECONDS)
        if not isinstance(answer, Ready):
            raise ConfigError(f"the import of {', '.join(modules)} {self.last_words()}")
        if len(answer.failures) == len(modules):
            _, why = answer.failures[0]
            raise ConfigError(why)

    def say(self, word: bytes) -> None:
        """Give it a word; it is not waited for, since it may be busy for long."""
        assert self._streams is not None, "it is prepared first"
        self._streams[1].write(word)

    async def answer(self, seconds: float) -> Answer | None:
        """Return what it says next; None if it has ended, or says nothing for so long."""
        assert self._streams is not None, "it is prepared first"
        reader = self._streams[0]
        try:
            async with asyncio.timeout(seconds):
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                return read_answer(await reader.readexactly(length))
        except TimeoutError:
            self.is_late = True
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # how it has ended is told by its last words
        return None

    def last_words(self) -> str:
        """Return how it has come to its end, if it has."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if self.is_late else _ENDS_SECONDS)
        code = self._process.returncode
        if code is None:
            return "took too long" if self.is_late else "left its process without its line to us"
        if code >= 0:
            return f"ended its process with exit code {code}"
        with suppress(ValueError):
            return f"ended its process by {signal.Signals(-code).name}"
        return f"ended its process by signal {-code}"

    def close(self) -> None:
        """End it, with all that it has started."""
        if self._process.returncode is None:
            end_group(self._process.pid)
            self._process.wait()
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._line.close()
        os.close(self._tie)


def _found(recording: Recording, code: Code, answer: Answer | None, child: _Child) -> Verdict:
    """Return the verdict on the run that a process was at."""
    version = code.as_version or recording.exported.run.version
    if isinstance(answer, Judged):
        return verdict(
            recording,
            answer.as_version,
            answer.finding,
            answer.why,
            entry=answer.entry,
            recorded=answer.recorded,
            asked=answer.asked,
            place=answer.place,
            diff=answer.diff,
        )
    if isinstance(answer, Stuck):
        where = "" if answer.place is None else f": it is at {answer.place}"
        why = f"needs more than {code.run_seconds:g} s{where}"
        return verdict(recording, version, Finding.UNKNOWN, why, place=answer.place)
    late = f"needs more than {code.run_seconds:g} s"
    why = late if child.is_late else f"needs a process that lives: it {child.last_words()}"
    return verdict(recording, version, Finding.UNKNOWN, why)
