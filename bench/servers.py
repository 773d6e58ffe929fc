"""Own the processes of a measurement: aikid with its embedded servers, and workers; all end with it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BIN = Path(sys.executable).parent
START_SECONDS = 60.0


def free_port() -> int:
    """Return a port of the loopback address that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """One aikid with a Postgres and a nats-server of its own, in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.environment = os.environ | {"AIKI_URL": self.url, "PYTHONHASHSEED": "0"}
        self.daemon = self._start(
            [BIN / "aikid", "--embedded", "--data-dir", home / "data", "--nats-port", str(self.port)]
        )
        self.others: list[subprocess.Popen[bytes]] = []
        """Daemons that share the work of the first, on its servers."""
        self.workers: list[subprocess.Popen[bytes]] = []

    def _start(self, command: list[Path | str]) -> "subprocess.Popen[bytes]":
        log = (self.home / "log").open("ab")
        return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=Path(__file__).parent.parent)

    def wait_ready(self) -> None:
        """Return when aikid answers; raises with its log if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            probe = subprocess.run(
                [BIN / "aiki", "status", "-q"], env=self.environment, capture_output=True, check=False
            )
            if probe.returncode == 0:
                return
            if self.daemon.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"aikid did not start:\n{(self.home / 'log').read_text()[-4000:]}")

    @property
    def database_url(self) -> str:
        """Return the address of its Postgres."""
        return str(json.loads((self.home / "data" / "servers.json").read_text())["database_url"])

    @property
    def roots(self) -> dict[int, str]:
        """Return the processes that were started here, by id, and what each is; the servers are children of aikid."""
        daemons = {process.pid: "aikid" for process in (self.daemon, *self.others)}
        return daemons | {worker.pid: "worker" for worker in self.workers}

    def start_daemon(self) -> None:
        """Start one more aikid, on the servers that are there."""
        self.environment["AIKI_DATABASE_URL"] = self.database_url
        self.others.append(self._start([BIN / "aikid"]))

    def start_worker(self, *options: str, flows: str = "bench.flows") -> "subprocess.Popen[bytes]":
        """Start a worker process on the measured workflows, of one module."""
        return self.start_program(BIN / "aiki", "worker", "start", "-m", flows, *options)

    def start_program(self, *command: Path | str) -> "subprocess.Popen[bytes]":
        """Start a program of our own that serves; it ends with the workers."""
        worker = self._start([*command])
        self.workers.append(worker)
        return worker

    def stop_workers(self) -> None:
        """End all workers and wait for them."""
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            worker.wait(60)
        self.workers = []

    def stop(self) -> None:
        """End everything, workers first."""
        try:
            self.stop_workers()
            for daemon in (*self.others, self.daemon):
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(60)
        finally:
            for process in (*self.workers, *self.others, self.daemon):
                process.kill()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a cluster on fresh data for the block."""
    home = Path(tempfile.mkdtemp(prefix="aiki-bench-"))
    home.chmod(0o755)
    running = Cluster(home)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()
        shutil.rmtree(home, ignore_errors=True)
