"""Own an interpreter that has imported our programs, and forks for each that it is asked to run.

It runs as a file under -P: its own folder must not be searched, since it holds a `nats.py`. A child goes on as if
Python had been started with -P for it, as the script `aiki` does: with streams, folder, environment and arguments of
its own; it returns to the top of the interpreter, so that it ends like any other.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

PROGRAMS = ("aiki", "aiki_cli", "aikid")
BESIDES = ("uvloop", "rich.console", "rich.table", "yaml", "typer.completion")
REQUEST_BYTES = 1 << 20
PR_SET_PDEATHSIG = 1


def serve(asked: socket.socket) -> dict[str, Any] | None:
    """Fork a grandchild for each request and answer its process id; return what to run in it, None at the end."""
    while True:
        text, streams, _, _ = socket.recv_fds(asked, REQUEST_BYTES, 3)
        if not text:
            return None
        middle = os.fork()
        if middle == 0:
            middle = os.getpid()
            child = os.fork()
            if child == 0:
                break
            asked.send(b"%d" % child)
            os._exit(0)
        os.waitpid(middle, 0)  # now the child is that of whoever asks
        asked.send(b"!")
        for stream in streams:
            os.close(stream)
    told: dict[str, Any] = json.loads(text)
    asked.close()
    while os.getppid() == middle:  # whose end is not to be ours
        time.sleep(0.0002)
    _take_over(told, streams)
    return told


def _take_over(told: dict[str, Any], streams: list[int]) -> None:
    if told["session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    if told["module"].startswith("tests."):
        sys.path.insert(0, told["cwd"])
    if "AIKI_FAILPOINTS" in os.environ:
        importlib.reload(sys.modules["aiki.core.failpoints"])
    sys.argv = [told["module"], *told["arguments"]]
    sys.orig_argv = [sys.executable, "-P", "-m", told["module"], *told["arguments"]]


def _modules() -> Iterator[str]:
    """Name all of our modules but those that run when they are imported."""
    for program in PROGRAMS:
        (folder,) = importlib.import_module(program).__path__
        for found in pkgutil.walk_packages([folder], f"{program}."):
            if not found.name.endswith((".__main__", ".env")) and ".migrations." not in found.name:
                yield found.name


if __name__ == "__main__":
    for name in (*_modules(), *BESIDES):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    if (asked_for := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        runpy.run_module(asked_for["module"], run_name="__main__", alter_sys=True)
