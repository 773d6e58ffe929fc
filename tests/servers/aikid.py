"""Own the aikids of tests, each a real process."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.servers.program import Program
from tests.servers.surroundings import clean_environment


class Aikid(Program):
    """An aikid as a real process."""

    READY = "aikid is ready"

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        nats_url: str,
        name: str = "aikid",
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.database_url = database_url
        self.nats_url = nats_url
        ours = {"AIKI_DATABASE_URL": database_url, "AIKI_NATS_URL": nats_url, **(env or {})}
        super().__init__(aikid_command(*arguments), folder, name=name, env=clean_environment(**ours), cwd=folder)

    def start(self) -> None:
        """Start it and wait until it serves."""
        super().start()
        self.wait_for_log(self.READY)

    def restart(self) -> None:
        """Stop it cleanly if it runs, and start it again."""
        if self.running:
            self.terminate()
        self.start()


class Aikids:
    """Starts aikids for one test and ends them all at its end."""

    def __init__(self, folder: Path, *, database_url: str, nats_url: str) -> None:
        self._folder = folder
        self._database_url = database_url
        self._nats_url = nats_url
        self._stack = ExitStack()
        self.started: list[Aikid] = []

    def __call__(
        self,
        *,
        database_url: str | None = None,
        nats_url: str | None = None,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        start: bool = True,
    ) -> Aikid:
        """Return one more aikid on this test's servers, started unless `start` is false."""
        made = Aikid(
            self._folder,
            database_url=database_url or self._database_url,
            nats_url=nats_url or self._nats_url,
            name=f"aikid-{len(self.started)}",
            env=env,
            arguments=arguments,
        )
        self._stack.callback(made.close)
        self.started.append(made)
        if start:
            made.start()
        return made

    def close(self) -> None:
        """End them all at once."""
        self._stack.close()


def aikid_command(*arguments: str) -> list[str]:
    """Return the command line of an aikid that runs in this interpreter."""
    return [sys.executable, "-m", "aikid", *arguments]
