"""Own the replay of runs under a debugger: in this process, without a limit of time, with the values of the record.

A `breakpoint()` in a body stops there. Where a run does not fit, or stands, the debugger opens in the frames of the
body that wait, or have raised. Nothing is executed and nothing is written, as in any replay.
"""

from __future__ import annotations

import inspect
import pdb
import sys
from bdb import BdbQuit
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from traceback import walk_tb
from types import CodeType, FrameType, TracebackType
from typing import TYPE_CHECKING

from aiki.core.frames import is_users
from aiki.execution.unwinding import waiting_frames
from aiki.manifest.collecting import collect
from aiki.process.imports import look_first_in
from aiki.replay.judging import judge
from aiki.replay.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from aiki.definitions.registry import Registry
    from aiki.execution.body import Body
    from aiki.replay.recording import Recording

Say = Callable[[str], None]


async def replay_here(
    recordings: AsyncGenerator[Recording, None],
    modules: Sequence[str],
    folders: Sequence[Path],
    *,
    as_version: str | None = None,
    step: bool = False,
    say: Say,
) -> AsyncGenerator[Verdict, None]:
    """Import the modules here, and yield the verdict on each run once it has been looked at.

    With `step` the debugger opens at each body's first line. `say` tells a person why it opens. Raises
    KeyboardInterrupt when the person quits it in the middle of a body.
    """
    look_first_in([str(folder) for folder in folders])
    registry = collect(modules)
    async with aclosing(recordings):
        async for recording in recordings:
            yield debug(recording, registry, as_version=as_version, step=step, say=say)


def debug(
    recording: Recording, registry: Registry, *, as_version: str | None = None, step: bool = False, say: Say
) -> Verdict:
    """Replay one run, and open the debugger where it does not fit, or stands."""
    run = recording.exported.run
    workflow = registry.get(run.workflow, as_version or run.version)
    code = None if workflow is None else inspect.unwrap(workflow.fn).__code__
    with _stopping_in(code if step else None):
        return judge(recording, registry, as_version=as_version, look=partial(_look, say))


@contextmanager
def _stopping_in(code: CodeType | None) -> Iterator[None]:
    """Have the debugger open at the first line that a function comes to."""
    if code is None:
        yield
        return
    first = min(
        (line for *_, line in code.co_lines() if line and line != code.co_firstlineno), default=code.co_firstlineno
    )
    debugger = pdb.Pdb()
    debugger.reset()
    debugger.set_break(code.co_filename, first, temporary=True)
    debugger.botframe = sys._getframe()  # noqa: SLF001 - with no frame to begin from it would stop at once
    debugger.set_continue()
    before = sys.gettrace()
    sys.settrace(debugger.trace_dispatch)
    try:
        yield
    finally:
        sys.settrace(before)
        debugger.clear_all_breaks()


def _look(say: Say, body: Body, verdict: Verdict) -> None:
    """Show a person where the body stands, before it is unwound."""
    if isinstance(body.error, BdbQuit):
        raise KeyboardInterrupt
    frames = _frames(body, verdict)
    said = f"run {verdict.run_id}: {verdict.finding}" + (f": {verdict.why}" if verdict.why else "")
    if not frames:
        say(said)
        return
    where = "here it has raised" if body.error is not None else "here it waits"
    is_fine = verdict.finding is Finding.COMPATIBLE
    say(f"{said}; {where}{', as it does there' if is_fine else ''} (q goes on)")
    sys.settrace(None)
    debugger = pdb.Pdb()
    debugger.reset()
    debugger.interaction(None, _trace(frames))


def _frames(body: Body, verdict: Verdict) -> list[tuple[FrameType, int]]:
    """Return the user's frames, the outermost first, in which the body has raised, or that wait, each with its line.

    Of several branches that wait it is the one that the verdict is about.
    """
    if body.error is not None:
        return [
            (frame, line) for frame, line in walk_tb(body.error.__traceback__) if is_users(frame.f_code.co_filename)
        ]
    waiting = [
        [(frame, frame.f_lineno) for frame in frames if is_users(frame.f_code.co_filename)]
        for frames in waiting_frames(body.loop)
    ]
    branches = [branch for branch in waiting if branch]
    place = verdict.place
    meant = (
        branch
        for branch in branches
        if place is not None and (branch[-1][0].f_code.co_filename, branch[-1][1]) == (place.file, place.line)
    )
    return next(meant, branches[-1] if branches else [])


def _trace(frames: Sequence[tuple[FrameType, int]]) -> TracebackType | None:
    """Return the frames as a traceback, which the debugger walks: those of coroutines that wait know no caller."""
    trace: TracebackType | None = None
    for frame, line in reversed(frames):
        trace = TracebackType(trace, frame, max(frame.f_lasti, 0), line)
    return trace
