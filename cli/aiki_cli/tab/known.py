"""Own what is kept of what a daemon has said to a TAB: in a file of the user's cache folder, for half a minute.

A file is for one place: what is asked of whom, from which folder. Another process asks, and is waited for only where
nothing is kept; so a shell goes on also where a daemon does not answer. Whatever stands in such a file may be
anybody's: it is read as lines of text, and none of it is taken for anything else.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from aiki_cli.tab.entries import Entry

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from typing import Final, NoReturn

FRESH_SECONDS: Final = 30.0
"""So old may be what is offered."""
RENEWED_SECONDS: Final = 10.0
"""What is older is offered still, and asked for anew."""
FAILED_SECONDS: Final = 3.0
"""For so long nobody is asked again who did not answer."""
WAIT_SECONDS: Final = 1.0
"""A TAB waits so long, once in half a minute."""
ASK_SECONDS: Final = 10
"""Whatever happens, the process that asks ends then."""
MOST_BYTES: Final = 1024 * 1024
_VARIABLES: Final = (
    "HOME",
    "XDG_CONFIG_HOME",
    "AIKI_URL",
    "AIKI_NAMESPACE",
    "AIKI_PROFILE",
    "AIKI_MANIFEST",
    "AIKI_CREDS",
    "AIKI_TLS_CA",
    "AIKI_TLS_CERT",
    "AIKI_TLS_KEY",
)


def entries(place: Mapping[str, str], whom: str) -> Sequence[Entry]:
    """Return what is known of a place, as it was kept or as it is answered now."""
    file = _file(place, whom)
    kept, age = _read(file) if file else ("", FRESH_SECONDS)
    if age >= FRESH_SECONDS:
        kept = _asked(place, whom, file, wait=True)
    elif age >= RENEWED_SECONDS:
        _asked(place, whom, file, wait=False)
    return [entry for line in kept.split("\n") if (entry := Entry.of_line(line)) is not None]


def _asked(place: Mapping[str, str], whom: str, file: str | None, *, wait: bool) -> str:
    """Have another process ask, and return what it has learnt if it is waited for and learns it in time."""
    reading, writing = os.pipe()
    if not os.fork():
        os.close(reading)
        _ask(place, whom, file, writing)
    os.close(writing)
    try:
        return _come(reading) if wait else ""
    finally:
        os.close(reading)


def _come(reading: int) -> str:
    """Return all that is written to the pipe; nothing if that takes longer than a TAB may."""
    from select import select

    come: list[bytes] = []
    deadline = time.monotonic() + WAIT_SECONDS
    while select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not (data := os.read(reading, 65536)):
            return b"".join(come).decode("utf-8", "replace")
        come.append(data)
    return ""


def _ask(place: Mapping[str, str], whom: str, file: str | None, writing: int) -> NoReturn:
    """Ask, keep what is answered, and write it into the pipe; in the child, which leaves nothing to the shell."""
    try:
        # Neither the shell's Ctrl-C nor its end concerns us; and while we held its pipe it would wait.
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(ASK_SECONDS)
        from aiki_cli.tab.asking import ask

        found, answered = ask(place, whom)
        text = "\n".join(entry.line() for entry in found)
        if file:
            _keep(file, text, seconds=FRESH_SECONDS if answered else FAILED_SECONDS)
        os.write(writing, text.encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _read(file: str) -> tuple[str, float]:
    """Return what is kept, and how old that is; a file that another may have written is none."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "", FRESH_SECONDS
    try:
        of = os.fstat(opened)
        age = time.time() - of.st_mtime
        if not _is_ours(of) or not stat.S_ISREG(of.st_mode) or of.st_size > MOST_BYTES or age < 0:
            return "", FRESH_SECONDS
        return os.read(opened, MOST_BYTES).decode("utf-8", "replace"), age
    finally:
        os.close(opened)


def _keep(file: str, text: str, *, seconds: float) -> None:
    """Write the file anew, so that it is fresh for so many seconds."""
    folder = os.path.dirname(file)
    fresh = f"{file}.{os.getpid()}"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _is_ours(os.stat(folder)):
            return
        # Another TAB may read it at this moment: it must never see half of it.
        opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(opened, text.encode("utf-8", "replace")[:MOST_BYTES])
        finally:
            os.close(opened)
        since = time.time() - (FRESH_SECONDS - seconds)
        os.utime(fresh, (since, since))
        os.replace(fresh, file)
    except OSError:
        return  # without a cache it is asked each time


def _is_ours(of: os.stat_result) -> bool:
    return of.st_uid == os.geteuid() and not of.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _file(place: Mapping[str, str], whom: str) -> str | None:
    """Return where the answers of a place are kept; None if the user has no folder for it."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    given = [f"{name}={value}" for name, value in sorted(place.items())]
    variables = [f"{name}={os.environ.get(name, '')}" for name in _VARIABLES]
    return os.path.join(folder, f"tab-{_digest([whom, here, *given, *variables])}")


def cache_folder() -> str | None:
    """Return our folder of what may be lost, where platformdirs has it: its own import takes longer than a TAB."""
    home = os.path.expanduser("~")
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    if not os.path.isabs(base):
        base = os.path.join(home, *(("Library", "Caches") if sys.platform == "darwin" else (".cache",)))
    return os.path.join(base, "aiki") if os.path.isabs(base) else None


def _digest(parts: Iterable[str]) -> str:
    """Return a name that says nothing of its parts: one may be an address with a password."""
    try:
        from _blake2 import blake2b  # hashlib has it too, and loads OpenSSL first
    except ImportError:
        from hashlib import blake2b
    return blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
