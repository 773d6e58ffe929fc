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

HOST: Final = "127.0.0.1"
_CONNECT_SECONDS: Final = 0.2


class Nats:
    """One nats-server with its store in `folder`/nats. `port` 0 takes a free one."""

    name = "nats-server"
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(self, folder: Path, account: Account, *, port: int) -> None:
        self.port = port
        self.store = folder / "nats"
        self.log = folder / "nats.log"
        self._config = folder / "nats.conf"
        self._pid_file = self.store / "pid"
        self._account = account
        self._program = nats_server(account)

    @property
    def url(self) -> str:
        """Return the address for clients."""
        return f"nats://{HOST}:{self.port}"

    def prepare(self) -> None:
        """End an orphan on this store, take the port and write the configuration.

        Raises ConfigError if the port is taken.
        """
        self.store.mkdir(mode=0o700, exist_ok=True)
        self._account.give(self.store)
        self._end_orphan()
        self.port = _take_port(self.port)
        # JSON is a subset of the server's own format, and needs no quoting rules of ours.
        self._config.write_text(
            json.dumps(
                {
                    "server_name": "aiki",
                    "host": HOST,
                    "port": self.port,
                    "pid_file": str(self._pid_file),
                    "max_payload": 1_048_576,
                    "jetstream": {
                        "store_dir": str(self.store),
                        # Hints are made again from Postgres: a second of them may be lost.
                        "sync_interval": "1s",
                        "max_mem": 64 * 1024**2,
                        "max_file": 1024**3,
                    },
                },
                indent=1,
            )
        )
        self._config.chmod(0o644)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server; `is_ready` says when it answers."""
        return spawn(
            [self._program, "-c", self._config],
            account=self._account,
            log=self.log,
            cwd=self.store,
            death_signal=self.stop_signal,
        )

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether it greets a client; it opens its port only after JetStream has started."""
        try:
            with socket.create_connection((HOST, self.port), _CONNECT_SECONDS) as connection:
                return process.poll() is None and connection.recv(5) == b"INFO "
        except OSError:
            return False

    def _end_orphan(self) -> None:
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return
        end_orphan(pid, is_ours=self._is_nats_server, first=self.stop_signal, then=self.kill_signal)
        self._pid_file.unlink(missing_ok=True)

    def _is_nats_server(self, pid: int) -> bool:
        words = command_line(pid)
        return bool(words) and Path(words[0]).name.startswith("nats-server") and str(self._config) in words


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
