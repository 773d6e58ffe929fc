"""Own one embedded Postgres: its cluster, its command line and the files that say how it fares.

It listens on a Unix socket in a folder that only its account (and root) can enter, never on TCP.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiki.core.errors import ConfigError
from aikid.embedded.binaries import postgres_folder, postgres_major
from aikid.embedded.child import Account, command_line, end_orphan, run, spawn
from aikid.embedded.folder import Folder

USER: Final = "aiki"
PORT: Final = 5432
"""It only names the socket file: no TCP port is opened."""
OLDEST_MAJOR: Final = 14
_PID: Final = "postmaster.pid"
_PARTIAL: Final = "postgres.new"
_SOCKETS_RECORD: Final = "sockets"
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
    """One Postgres on the cluster in `home`/postgres. `settings` are laid over DURABLE and SETTINGS."""

    name = "postgres"
    stop_signal = signal.SIGINT
    """Fast shutdown: sessions are cut off, then a checkpoint."""
    kill_signal = signal.SIGQUIT

    def __init__(self, home: Folder, account: Account, *, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.log = home.path / "postgres.log"
        self._account = account
        self._data = home.inside("postgres", account.uid)
        self._settings = {**SETTINGS, **DURABLE, **(settings or {})}
        self._binaries = postgres_folder(account)
        self._sockets = home.inside("run", account.uid)

    @property
    def data(self) -> Path:
        """The folder of its cluster."""
        return self._data.path

    def url(self, database: str = "postgres") -> str:
        """Return the address of `database`. There is no password: whoever can enter the socket's folder is let in."""
        host = quote(str(self._sockets.path), safe="")
        return f"postgresql://{USER}@/{quote(database)}?host={host}&port={PORT}"

    def prepare(self) -> None:
        """Make the cluster if there is none, else end an orphan on it. Raises ConfigError if it cannot be used."""
        self._make_socket_folder()
        if self.home.has(self._data.path.name):
            self._check_version()
            self._clear_pid_file()
        else:
            self._make_cluster()

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server; `is_ready` says when it answers."""
        words = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        return spawn(
            [self._binaries / "postgres", "-D", ".", *words, "-c", self._socket_setting],
            account=self._account,
            home=self.home,
            log=self.log.name,
            folder=self._data,
            death_signal=self.stop_signal,
        )

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether it accepts connections: line 8 of `postmaster.pid`, what `pg_ctl --wait` looks at too."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready"

    @property
    def _socket_setting(self) -> str:
        """The setting that a later aikid knows an orphan by, too."""
        return f"unix_socket_directories={self._sockets.path}"

    def _make_socket_folder(self) -> None:
        """Make a folder for the socket; where its path would be too long, below the temporary folder, on record."""
        if len(f"{self._sockets.path}/.s.PGSQL.{PORT}".encode()) <= _SOCKET_PATH_BYTES:
            self._sockets.make(owner=self._account.ids)
        else:
            self._sockets = self._recorded_sockets() or self._new_sockets()

    def _recorded_sockets(self) -> Folder | None:
        recorded = self.home.read(_SOCKETS_RECORD)
        if recorded is None:
            return None
        folder = Folder(Path(recorded.strip()), self._sockets.owners)
        try:
            with folder.opened():
                return folder
        except (FileNotFoundError, ConfigError):
            return None  # others may write in the temporary folder: what lies there now is not what we made

    def _new_sockets(self) -> Folder:
        folder = Folder(Path(tempfile.mkdtemp(prefix="aiki-")), self._sockets.owners)
        folder.make(owner=self._account.ids)
        self.home.write(_SOCKETS_RECORD, f"{folder.path}\n")
        return folder

    def _make_cluster(self) -> None:
        if postgres_major(self._binaries) < OLDEST_MAJOR:
            raise ConfigError(
                f"PostgreSQL in {self._binaries} is older than {OLDEST_MAJOR}", hint="set AIKI_PG_BIN to a newer one"
            )
        # Made beside and renamed: an initdb that was killed never leaves half a cluster under the real name.
        partial = self.home.inside(_PARTIAL, self._account.uid)
        partial.make(owner=self._account.ids)  # judged before it is removed
        self.home.remove_tree(_PARTIAL)
        partial.make(owner=self._account.ids)
        durable = self._settings["fsync"] == "on"
        run(
            [
                self._binaries / "initdb",
                "--pgdata=.",
                f"--username={USER}",
                "--encoding=UTF8",
                "--no-locale",
                "--auth-local=trust",
                "--auth-host=reject",
                "--no-instructions",
                *([] if durable else ["--no-sync"]),
            ],
            account=self._account,
            folder=partial,
        )
        self.home.rename(_PARTIAL, self._data.path.name)

    def _check_version(self) -> None:
        with self._data.opened():
            made_by = (self._data.read("PG_VERSION") or "").strip()
        if not made_by.isdecimal():
            raise ConfigError(
                f"{self.data} is no Postgres cluster: it has no PG_VERSION", hint="choose another --data-dir"
            )
        ours = postgres_major(self._binaries)
        if int(made_by) != ours:
            raise ConfigError(
                f"the data in {self.data} was made by PostgreSQL {made_by}, and {self._binaries} holds {ours}",
                hint=f"set AIKI_PG_BIN to binaries of PostgreSQL {made_by}, or choose another --data-dir",
            )

    def _clear_pid_file(self) -> None:
        """End a postmaster that an aikid left behind; forget one that is gone.

        The caller holds the lock of the data folder, so no living aikid owns that postmaster. Postgres itself refuses
        to start when the pid in its file was given to any other process, which in a container happens at each start.
        """
        first = (*self._pid_file_lines(), "")[0].strip()
        if first.isdecimal():
            end_orphan(int(first), is_ours=self._is_postmaster, first=self.stop_signal, then=self.kill_signal)
        # A crashed server's shared memory is still guarded by Postgres itself, by a key made from the folder's inode.
        self._data.remove(_PID)

    def _is_postmaster(self, pid: int) -> bool:
        words = command_line(pid)
        return bool(words) and Path(words[0]).name == "postgres" and self._socket_setting in words

    def _pid_file_lines(self) -> list[str]:
        return (self._data.read(_PID) or "").splitlines()
