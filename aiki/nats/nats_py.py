"""Own how nats-py is imported: without what takes longer than all else of it, and what nothing of ours uses.

That is its client of JetStream, and how it learns its own version. Whoever wants JetStream gets it as ever,
by `import nats.js` or as an attribute: it is imported then.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_JETSTREAM: Final = "nats.js"
_VERSIONS: Final = "importlib.metadata"
_OURS: Final = {"aiki-stderr", "aiki-signals", "aiki-parent"}
"""Threads that import nothing."""


def _import_the_rest() -> None:
    # Another thread may import one of them for itself at this moment: it must not find what stands for it here.
    others = {thread.name for thread in threading.enumerate() if thread is not threading.current_thread()}
    if "nats" in sys.modules or others - _OURS:
        return
    versions = ModuleType(_VERSIONS)
    vars(versions)["version"] = _version
    # What nats-py's client names of JetStream, it names inside of functions.
    with _standing_in(ModuleType(_JETSTREAM)), _standing_in(versions):
        nats = import_module("nats")
    vars(nats)["__getattr__"] = _later


@contextlib.contextmanager
def _standing_in(module: ModuleType) -> Iterator[None]:
    """Let an import find `module` in the place of the one of that name, if that is not there already."""
    if module.__name__ in sys.modules:
        yield
        return
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        del sys.modules[module.__name__]


def _version(name: str) -> str:
    """Return the version of a package that stands beside nats-py's, by the folder that installers keep of it."""
    start, end = f"{name.replace('-', '_')}-", ".dist-info"
    folder = Path(sys.modules["nats"].__path__[0]).parent
    (found,) = folder.glob(f"{start}*{end}")
    return found.name[len(start) : -len(end)]


def _later(name: str) -> Any:
    if name == "js":
        return import_module(_JETSTREAM)
    raise AttributeError(f"module 'nats' has no attribute {name!r}")


_import_the_rest()

from nats import errors as errors  # noqa: E402 - only now
from nats.aio.client import Client as Client  # noqa: E402
from nats.aio.transport import TcpTransport as TcpTransport  # noqa: E402
