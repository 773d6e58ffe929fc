"""Own `aiki replay --debug`: it needs this process, its terminal, and sets in the order in which a worker has them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from aiki import UsageError
from aiki_cli.again import start_again
from aiki_cli.processes.worker_process import SAFE_PATH

if TYPE_CHECKING:
    from aiki.replay import Code, Recording, Verdict
    from aiki_cli.session import Session


def here(
    session: Session, code: Code, *, step: bool, files: Sequence[str]
) -> Callable[[AsyncGenerator[Recording, None]], AsyncGenerator[Verdict, None]]:
    """Return what replays runs in this process under a debugger, which reads stdin.

    The program begins once more, if sets of text would iterate in an order of its own. Raises UsageError if a file is
    stdin.
    """
    if "-" in files:
        raise UsageError("stdin is the debugger's: it cannot bring runs, too", hint="aiki replay --file FILE --debug")
    if os.environ.get("PYTHONHASHSEED") != "0":
        start_again([SAFE_PATH], PYTHONHASHSEED="0")
    from aiki.replay.debugging import replay_here

    return partial(
        replay_here,
        modules=code.modules,
        folders=code.folders,
        as_version=code.as_version,
        step=step,
        say=session.out.say,
    )
