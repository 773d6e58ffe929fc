"""Own one embedded Postgres: its cluster, its command line and the files that say how it fares.

It listens on a Unix socket in a folder that only its account (and root) can enter, never on TCP.
"""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiki.core.errors import ConfigError
from aikid.embedded.binaries import postgres_folder, postgres_major
from aikid.embedded.child import Account, command_line, end_orphan, run, spawn

USER: Final = "aiki"
PORT: Final = 5432
"""It only names the socket file: no TCP port is opened."""
OLDEST_MAJOR: Final = 15
_SOCKET_PATH_BYTES: Final = 100
"""sockaddr_un holds 108 on Linux and 104 on macOS."""

DURABLE: Final[Mapping[str, str]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}
SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    # Our statements are short: compiling them costs more than it saves.
    "jit": "off",
    "idle_in_transaction_session_timeout": "10s",
    "client_connection_check_interval": "10s",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Postgres:
    """One Postgres on the cluster in `folder`/postgres. `settings` are laid over DURABLE and SETTINGS."""

    name = "postgres"
    stop_signal = signal.SIGINT
    """Fast shutdown: sessions are cut off, then a checkpoint."""
    kill_signal = signal.SIGQUIT

    def __init__(self, folder: Path, account: Account, *, settings: Mapping[str, str] | None = None) -> None:
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"
        self._account = account
        self._settings = {**SETTINGS, **DURABLE, **(settings or {})}
        self._binaries = postgres_folder(account)
        self._sockets = folder / "run"

    def url(self, database: str = "postgres") -> str:
        """Return the address of `database`. There is no password: whoever can enter the socket's folder is let in."""
        host = quote(str(self._sockets), safe="")
        return f"postgresql://{USER}@/{quote(database)}?host={host}&port={PORT}"

    def prepare(self) -> None:
        """Make the cluster if there is none, else end an orphan on it. Raises ConfigError if it cannot be used."""
        self._make_socket_folder()
        if self.data.exists():
            self._check_version()
            self._clear_pid_file()
        else:
            self._make_cluster()

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server; `is_ready` says when it answers."""
        settings = {**self._settings, "unix_socket_directories": str(self._sockets)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return spawn(
            [self._binaries / "postgres", "-D", self.data, *words],
            account=self._account,
            log=self.log,
            cwd=self.data,
            death_signal=self.stop_signal,
        )

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether it accepts connections: line 8 of `postmaster.pid`, what `pg_ctl --wait` looks at too."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready"

    def _make_socket_folder(self) -> None:
        """Make a folder for the socket; where its path would be too long, below the temporary folder, with a link."""
        if len(f"{self._sockets}/.s.PGSQL.{PORT}".encode()) <= _SOCKET_PATH_BYTES:
            if not self._sockets.exists():
                self._sockets.mkdir(mode=0o700)
                self._account.give(self._sockets)
            return
        link = self._sockets
        if not self._is_private(link):
            link.unlink(missing_ok=True)
            made = Path(tempfile.mkdtemp(prefix="aiki-"))
            self._account.give(made)
            link.symlink_to(made)
        self._sockets = link.resolve()

    def _is_private(self, link: Path) -> bool:
        # Others may write in the temporary folder: what lies there now may not be what we made.
        try:
            found = link.stat()
        except FileNotFoundError:
            return False
        return found.st_uid == self._account.uid and stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077

    def _make_cluster(self) -> None:
        if postgres_major(self._binaries) < OLDEST_MAJOR:
            raise ConfigError(
                f"PostgreSQL in {self._binaries} is older than {OLDEST_MAJOR}", hint="set AIKI_PG_BIN to a newer one"
            )
        # Made beside and renamed: an initdb that was killed never leaves half a cluster under the real name.
        partial = self.data.with_name("postgres.new")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        self._account.give(partial)
        durable = self._settings["fsync"] == "on"
        run(
            [
                self._binaries / "initdb",
                f"--pgdata={partial}",
                f"--username={USER}",
                "--encoding=UTF8",
                "--no-locale",
                "--auth-local=trust",
                "--auth-host=reject",
                "--no-instructions",
                *([] if durable else ["--no-sync"]),
            ],
            account=self._account,
            cwd=partial,
        )
        partial.rename(self.data)

    def _check_version(self) -> None:
        try:
            made_by = int((self.data / "PG_VERSION").read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.data} is no Postgres cluster: {error}", hint="choose another --data-dir"
            ) from error
        ours = postgres_major(self._binaries)
        if made_by != ours:
            raise ConfigError(
                f"the data in {self.data} was made by PostgreSQL {made_by}, and {self._binaries} holds {ours}",
                hint=f"set AIKI_PG_BIN to binaries of PostgreSQL {made_by}, or choose another --data-dir",
            )

    def _clear_pid_file(self) -> None:
        """End a postmaster that an aikid left behind; forget one that is gone.

        The caller holds the lock of the data folder, so no living aikid owns that postmaster. Postgres itself refuses
        to start when the pid in its file was given to any other process, which in a container happens at each start.
        """
        lines = self._pid_file_lines()
        if not lines or not lines[0].strip().isdecimal():
            return
        end_orphan(int(lines[0]), is_ours=self._is_postmaster, first=self.stop_signal, then=self.kill_signal)
        # A crashed server's shared memory is still guarded by Postgres itself, by a key made from the folder's inode.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _is_postmaster(self, pid: int) -> bool:
        words = command_line(pid)
        return bool(words) and Path(words[0]).name == "postgres" and str(self.data) in words

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []
