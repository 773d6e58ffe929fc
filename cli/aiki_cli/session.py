"""Own one call of the command line: its common options, its manifest, its connection, its signals and its exit code."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiki.core.variables import variable
from aiki.process.signals import obeying
from aiki_cli import exits, failures
from aiki_cli.view.output import Mode, NobodyReads, Output
from aiki_cli.view.secrets import refuse_secret_flag

if TYPE_CHECKING:
    from aiki import Client
    from aiki.manifest import Manifest

T = TypeVar("T")

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

    def run(self, command: Callable[[], Coroutine[Any, Any, T]], *, fast: bool = False) -> T:
        """Run `command` to its end and return what it returns; a signal ends it: SIGHUP 129, Ctrl-C 130, SIGTERM 143.

        `fast` runs it on uvloop, where that is installed: worth its import in long-lived processes only.
        """
        import asyncio

        with asyncio.Runner(loop_factory=uvloop_factory() if fast else None) as runner:
            return runner.run(_until_terminated(command()))

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


def finish(session: Session, body: Callable[[], int | None]) -> int:
    """Run a command's body and return the exit code for whatever came of it."""
    try:
        refuse_secret_flag(session.common.url)
        return body() or exits.OK
    except NobodyReads:
        return exits.OK
    except KeyboardInterrupt:
        return _interrupted(session, exits.INTERRUPTED)
    except Terminated as error:
        return _interrupted(session, exits.of_signal(error.number))
    except Exception as error:  # noqa: BLE001 - the edge of the program: every error becomes an exit code
        return failures.report(_single(error), session.out.mode)


class Terminated(BaseException):
    """A signal to end came."""

    def __init__(self, number: Signals) -> None:
        super().__init__(number)
        self.number = number


def _interrupted(session: Session, code: int) -> int:
    if session.note_on_interrupt:
        session.out.say(f"\n{session.note_on_interrupt}")
    return code


async def _until_terminated(command: Awaitable[T]) -> T:
    """Await `command`; SIGTERM and SIGHUP cancel it. A command with signal handlers of its own puts them over these."""
    import asyncio

    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    came: list[Signals] = []

    def stop(number: Signals) -> None:
        came.append(number)
        loop.call_soon_threadsafe(task.cancel)

    with obeying(stop, Signals.SIGTERM, Signals.SIGHUP):
        try:
            return await command
        except asyncio.CancelledError:
            if came:
                raise Terminated(came[0]) from None
            raise


def uvloop_factory() -> Callable[[], Any] | None:
    """Return what makes uvloop's loops; None if it is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _single(error: Exception) -> Exception:
    """Return the one error inside task groups, if it is one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
