"""Own one call of the command line: its common options, what they and files say, its connection, its output.

It runs nothing, and draws nothing.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiki.core.variables import variable
from aiki_cli.folders import config_folder
from aiki_cli.view.output import Mode, Output
from aiki_cli.where import KEY_NAMES, NAMESPACE, URL, Files, Where

if TYPE_CHECKING:
    from aiki import Client
    from aiki.manifest import Manifest, UserSettings
    from aiki_cli.dev_record import DevRecord

SLOW: Final = "2s"
"""What who is there may take to answer."""


@dataclass(frozen=True)
class Common:
    """The options that every command takes, as they were given."""

    url: str | None = None
    namespace: str | None = None
    profile: str | None = None
    creds: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    file: Path | None = None
    output: Mode | None = None
    quiet: bool = False
    start_timeout: str | None = None
    columns: str | None = None

    @property
    def keys(self) -> Mapping[str, str | None]:
        """The files that open NATS, by name; an empty one says that there is none."""
        return {name: getattr(self, name) for name in KEY_NAMES}

    def at_our_own(self, url: str | None = None) -> Common:
        """Return these options for a server that we run ourselves: it asks for no keys."""
        return replace(self, url=url, creds="", tls_ca="", tls_cert="", tls_key="")

    def over(self, other: Common) -> Common:
        """Return these options, with those of `other` where these say nothing."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(other, **{name: value for name, value in given.items() if value not in (None, False)})


class Session:
    """What a command works with."""

    def __init__(self, common: Common, *, command: str = "") -> None:
        self.common = common
        self.command = command
        """As it is typed after `aiki`."""
        self.out = Output.choose(common.output, quiet=common.quiet)
        self.note_on_interrupt: str | None = None
        """What a person should know who presses Ctrl-C now."""
        self.cancels_on_interrupt = False
        """Whether runs that are waited for are cancelled by it."""
        self.on_interrupt: Callable[[], Awaitable[None]] | None = None
        """What is done then, before that is said, while the connection is still open."""
        self.connections = AsyncExitStack()
        """What is closed once all is shown that was found."""
        self.files = ExitStack()
        """What is closed when the command is over."""

    def choose_columns(self, typed: str) -> None:
        """Show only some columns of what the command finds. Raises UsageError if it has none of that name."""
        from aiki_cli.view.columns import choose

        self.out = replace(self.out, columns=choose(self.command, typed, self.out.mode))

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest, if there is one. Raises ConfigError if it is wrong, or was found and may be a stranger's."""
        from aiki import manifest

        source = manifest.find(self.common.file, os.environ, _working_directory())
        return manifest.parse(source.raw, source.file) if source else None

    @cached_property
    def user(self) -> UserSettings | None:
        """The user's own settings, if there are any. Raises ConfigError if they are wrong, or may be a stranger's."""
        from aiki import manifest

        source = manifest.find_user(os.environ, config_folder())
        return manifest.parse_user(source.raw, source.file) if source else None

    @cached_property
    def where(self) -> Where:
        """Where it connects, and who says so. Raises ConfigError if a file that may say so is wrong."""
        flags = {URL: self.common.url, NAMESPACE: self.common.namespace, **self.common.keys}
        named = self.common.profile or variable(os.environ, "AIKI_PROFILE")
        return Where(flags, named, Files(self.manifest, self.user, self._dev))

    def url(self) -> str | None:
        """Return the address to connect to. Raises ConfigError."""
        return self.where.url.value

    def namespace(self) -> str | None:
        """Return the namespace. Raises ConfigError."""
        return self.where.namespace.value

    @property
    def start_timeout(self) -> str | None:
        """How long to wait until somebody is there, if anybody says so."""
        return self.common.start_timeout or variable(os.environ, "AIKI_START_TIMEOUT")

    @asynccontextmanager
    async def connect(self, *, patience: str | None = None) -> AsyncGenerator[Client, None]:
        """Connect, and close at the end of the block.

        Who is not there is waited for as long as somebody says, else for `patience`; without either it is tried once.
        Raises ConfigError, and Unavailable with what a person needs who meets it.
        """
        from aiki import Client, Unavailable

        waits = self.start_timeout or patience
        if self.out.quiet:
            import logging

            logging.getLogger("aiki.transport").setLevel(logging.ERROR)
        keys = {name: self.where.key_file(name).value for name in KEY_NAMES}
        opening = Client.connect(
            self.url(), namespace=self.namespace(), timeout=waits or SLOW, fail_fast=waits is None, **keys
        )
        async with AsyncExitStack() as opened:
            try:
                client = await opened.enter_async_context(opening)
            except Unavailable as error:
                from aiki_cli.unreachable import explain

                explain(error, self.where, waited=waits)
                raise
            yield client

    async def client(self) -> Client:
        """Return the connection that is closed when the command is over. Raises as `connect` does."""
        return await self.connections.enter_async_context(self.connect())

    def _dev(self) -> DevRecord | None:
        from aiki_cli.dev_record import find

        here = _working_directory()
        return find(here, os.environ, self.out.say) if here else None


def _working_directory() -> Path | None:
    """Return the working directory; None if it was deleted under the shell."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
