"""Own the nats-servers of tests."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aikid.embedded.child import Account
from aikid.embedded.folder import Folder
from aikid.embedded.nats import Nats as NatsProgram
from tests.servers.embedded import Served
from tests.servers.process import signal_to
from tests.servers.surroundings import free_port, server_account, server_folder
from tests.waiting import wait_until_sync

USER = {"user": "aiki", "password": "one"}
"""Of a nats-server that is guarded."""


@contextmanager
def running_nats(**settings: Any) -> Iterator[Nats]:
    """Run a nats-server in a folder of its own, with `settings` of its configuration changed."""
    with server_folder() as folder:
        server = Nats(folder)
        server.configure(**settings)
        try:
            server.start()
            yield server
        finally:
            server.close()


class _Configured(NatsProgram):
    """A nats-server whose configuration tests change: each of `settings` replaces ours, None removes it."""

    def __init__(self, home: Folder, account: Account, *, port: int) -> None:
        super().__init__(home, account, port=port)
        self.settings: dict[str, Any] = {}

    def prepare(self) -> None:
        super().prepare()
        self.write()

    def write(self) -> None:
        """Write the configuration with what is changed in it."""
        config = self.store / "nats.conf"
        changed = {**json.loads(config.read_text()), **self.settings}
        kept = {name: value for name, value in changed.items() if value is not None}
        config.write_text(json.dumps(kept, ensure_ascii=False))  # it knows no \u escapes


class Nats(Served):
    """A nats-server of its own on `folder`, on a free port that it keeps over restarts."""

    server: _Configured

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.server = _Configured(Folder(folder), server_account(), port=free_port())
        self._is_guarded = False

    @property
    def url(self) -> str:
        """The address for clients, with the credentials of the one user if there is one."""
        who = f"{USER['user']}:{USER['password']}@" if self._is_guarded else ""
        return self.server.url.replace("://", f"://{who}")

    def guard(self, **changes: Any) -> None:
        """Let in but one user, whom `url` names; with `changes` the server knows it otherwise than `url` does."""
        self._is_guarded = True
        self.configure(authorization={"users": [USER | changes]})

    def configure(self, **settings: Any) -> None:
        """Change settings of the server, and of one that runs at once; None goes back to the server's default."""
        self.server.settings |= settings
        if self.running:
            reloads = self._reloads()
            self.server.write()
            signal_to(self.pid, signal.SIGHUP)
            wait_until_sync(lambda: self._reloads() > reloads, what="the server's new configuration")

    def restart_with(self, **settings: Any) -> None:
        """Start it again on the same data with other settings."""
        self.stop()
        self.configure(**settings)
        self.start()

    def wipe(self) -> None:
        """Kill it, remove all streams and consumers, and start it again."""
        if self.running:
            self.kill9()
        shutil.rmtree(self.server.store)
        self.start()

    def _reloads(self) -> int:
        return self.server.log.read_text(errors="replace").count("Reloaded server configuration")
