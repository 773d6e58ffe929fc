"""Own one embedded nats-server: its configuration, its JetStream store and its port on the loopback."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Final

from aiki.core.errors import ConfigError
from aikid.embedded.binaries import nats_server
from aikid.embedded.child import Account, command_line, end_orphan, spawn
from aikid.embedded.folder import Folder

HOST: Final = "127.0.0.1"
_CONNECT_SECONDS: Final = 0.2
_CONFIG: Final = "nats.conf"
_PID: Final = "pid"


class Nats:
    """One nats-server with its store in `home`/nats. `port` 0 takes a free one."""

    name = "nats-server"
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(self, home: Folder, account: Account, *, port: int) -> None:
        self.port = port
        self.home = home
        self.log = home.path / "nats.log"
        self._store = home.inside("nats", account.uid)
        self._account = account
        self._program = nats_server(account)

    @property
    def url(self) -> str:
        """Return the address for clients."""
        return f"nats://{HOST}:{self.port}"

    @property
    def store(self) -> Path:
        """The folder of its data."""
        return self._store.path

    def prepare(self) -> None:
        """End an orphan on this store, take the port and write the configuration.

        Raises ConfigError if the port is taken, or the store is not what we made.
        """
        self._store.make(owner=self._account.ids)
        self._end_orphan()
        self.port = _take_port(self.port)
        # JSON is a subset of the server's own format, and needs no quoting rules of ours.
        self._store.write(
            _CONFIG,
            json.dumps(
                {
                    "server_name": "aiki",
                    "host": HOST,
                    "port": self.port,
                    "max_payload": 1_048_576,
                    "jetstream": {
                        "store_dir": ".",
                        # Hints are made again from Postgres: a second of them may be lost.
                        "sync_interval": "1s",
                        "max_mem": 64 * 1024**2,
                        "max_file": 1024**3,
                    },
                },
                indent=1,
            ),
        )

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server; `is_ready` says when it answers."""
        return spawn(
            # The whole path of the pid file is what a later aikid knows it by.
            [self._program, "-c", _CONFIG, "-P", self._pid_file],
            account=self._account,
            home=self.home,
            log=self.log.name,
            folder=self._store,
            death_signal=self.stop_signal,
        )

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether it greets a client; it opens its port only after JetStream has started."""
        try:
            with socket.create_connection((HOST, self.port), _CONNECT_SECONDS) as connection:
                return process.poll() is None and connection.recv(5) == b"INFO "
        except OSError:
            return False

    @property
    def _pid_file(self) -> Path:
        return self.store / _PID

    def _end_orphan(self) -> None:
        text = (self._store.read(_PID) or "").strip()
        if not text.isdecimal():
            return
        end_orphan(int(text), is_ours=self._is_nats_server, first=self.stop_signal, then=self.kill_signal)
        self._store.remove(_PID)

    def _is_nats_server(self, pid: int) -> bool:
        words = command_line(pid)
        return bool(words) and Path(words[0]).name.startswith("nats-server") and str(self._pid_file) in words


def _take_port(port: int) -> int:
    """Return `port`, or a free one for 0. Raises ConfigError if somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} on {HOST} is taken, and the embedded nats-server needs it: {error.strerror}",
                hint=f"aikid --embedded --nats-port {port + 1 if port < 65535 else 0}   (or AIKI_NATS_PORT)",
            ) from error
        taken: int = probe.getsockname()[1]
        return taken
