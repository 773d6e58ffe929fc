"""Own what a process that is to run tasks knows of itself while it still imports the main module of its program.

Such a process imports it as `__mp_main__`, to find what is defined there. One that is not guarded by
`if __name__ == "__main__":` then does all that the program does, once more.
"""

from __future__ import annotations

import sys
from typing import Final

TASK_PROCESS: Final = "aiki-task"
"""The name of such a process, which multiprocessing gives it before anything is imported."""
_begun = False


def is_importing_main() -> bool:
    """Tell whether this process is to run tasks and has not come to them yet."""
    process = sys.modules.get("multiprocessing.process")  # where it is not imported, this is no such process
    return not _begun and process is not None and process.current_process().name == TASK_PROCESS


def begin() -> None:
    """Say that this process has come to its tasks."""
    global _begun
    _begun = True
