"""Own one call of the command line: its common options, what they and the manifest say, its connection, its output.

It runs nothing, and draws nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiki.core.variables import variable
from aiki_cli.view.output import Mode, Output

if TYPE_CHECKING:
    from aiki import Client
    from aiki.manifest import Manifest

KEY_NAMES: Final = ("creds", "tls_ca", "tls_cert", "tls_key")
"""The files that open NATS, by the name that each has everywhere."""


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
    """What a command works with. Precedence everywhere: flag, environment, profile, manifest, default."""

    def __init__(self, common: Common) -> None:
        self.common = common
        self.out = Output.choose(common.output, quiet=common.quiet)
        self.note_on_interrupt: str | None = None
        """What a person should know who presses Ctrl-C now."""
        self.connections = AsyncExitStack()
        """What is closed once all is shown that was found."""
        self.files = ExitStack()
        """What is closed when the command is over."""

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest, if there is one. Raises ConfigError if it is wrong, or was found and may be a stranger's."""
        from aiki import manifest

        source = manifest.find(self.common.file, os.environ, _working_directory())
        return manifest.parse(source.raw, source.file) if source else None

    @property
    def profile(self) -> str | None:
        """The profile that was chosen."""
        return self.common.profile or variable(os.environ, "AIKI_PROFILE")

    def url(self) -> str | None:
        """Return the address to connect to; None leaves it to the SDK's default. Raises ConfigError."""
        if given := self.common.url or variable(os.environ, "AIKI_URL"):
            return given
        manifest = self._manifest_with_profile()
        return manifest.url(os.environ, profile=self.profile) if manifest else None

    def namespace(self) -> str | None:
        """Return the namespace; None leaves it to the SDK's default. Raises ConfigError."""
        if given := self.common.namespace or variable(os.environ, "AIKI_NAMESPACE"):
            return given
        manifest = self._manifest_with_profile()
        return manifest.namespace(os.environ, profile=self.profile) if manifest else None

    def key_file(self, name: str) -> Path | str | None:
        """Return the file of that name; None leaves it to the SDK, which finds none. Raises ConfigError."""
        given = self.common.keys[name]
        if given is not None or (given := variable(os.environ, f"AIKI_{name.upper()}")):
            return given
        manifest = self._manifest_with_profile()
        return manifest.key_file(name, os.environ, profile=self.profile) if manifest else None

    def connect(self, *, timeout: str = "2s") -> AbstractAsyncContextManager[Client]:
        """Return the connection, to be opened. Raises ConfigError; opening it raises Unavailable after `timeout`."""
        from aiki import Client

        keys = {name: self.key_file(name) for name in KEY_NAMES}
        return Client.connect(self.url(), namespace=self.namespace(), timeout=timeout, **keys)

    async def client(self) -> Client:
        """Return the connection that is closed when the command is over. Raises as `connect` does."""
        return await self.connections.enter_async_context(self.connect())

    def _manifest_with_profile(self) -> Manifest | None:
        from aiki import ConfigError

        if self.profile and self.manifest is None:
            raise ConfigError(f"the profile {self.profile!r} was asked for, and there is no manifest with profiles")
        return self.manifest


def _working_directory() -> Path | None:
    """Return the working directory; None if it was deleted under the shell."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
