"""Own what the servers of tests stand on: an account, a folder, a port, an environment."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aikid.embedded.child import Account


def free_port() -> int:
    """Return a TCP port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server_account() -> Account:
    """Return who the servers run as: `nobody` where the tests run as root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


@contextmanager
def server_folder() -> Iterator[Path]:
    """Make a folder that `nobody` can enter (pytest's own are closed to others) and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="aiki-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def plain_user_command(command: Sequence[str]) -> list[str] | None:
    """Return a command line that runs `command` as a plain user, or None if that cannot be done here.

    As root this is `nobody`, who may still read everything: this interpreter often lies below a closed /root.
    """
    if os.geteuid() != 0:
        return list(command)
    if shutil.which("setpriv") is None:
        return None
    account = server_account()
    capabilities = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    ids = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", "--pdeathsig=KILL"]
    return ["setpriv", *ids, *capabilities, *command]


def clean_environment(**ours: str) -> dict[str, str]:
    """Return this process's environment without any AIKI_* variable, then with `ours`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIKI_")}
    return {**kept, **ours}
