"""Own the process: command line, log, signals and exit codes. What the daemon does is `app`'s.

Exit codes: 0 stopped as asked, 2 usage, 66 a file that was named cannot be read, 69 Postgres or NATS unreachable, 70 a
bug, 74 stdout did not take the result, 77 refused by either, 78 configuration, and 130 or 143 if a second SIGINT or
SIGTERM, or the end of the stop timeout,
cut the stop short.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from signal import Signals
from typing import Any, Final, NoReturn

from aiki.core.addresses import hide, shown
from aiki.core.errors import ConfigError, Denied, FileUnreadable, Unavailable
from aiki.process.environment import trim_variables
from aiki.process.parent import watch_parent
from aiki.process.signals import end_at_once, obeying
from aiki.process.stderr import detach_stderr, protect_stderr
from aiki.process.stdout import lost, protect_stdout
from aikid.config import OPTIONS, PREFIX, Loaded, Settings, load, sources_note
from aikid.logs import configure
from aikid.threads import in_thread

log = logging.getLogger("aikid")

NO_INPUT: Final = 66
UNAVAILABLE: Final = 69
INTERNAL: Final = 70
UNWRITABLE: Final = 74
DENIED: Final = 77
CONFIGURATION: Final = 78
READY_VARIABLE: Final = "AIKI_READY_FD"
"""The file descriptor on which we tell the process that started us where we serve."""
COMMANDS: Final = ("serve", "migrate", "check")
GC_THRESHOLDS: Final = (50_000, 20, 50)
_CHECK_SECONDS: Final = 5.0
"""How long `aikid check` tries each server."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `aikid` and exit."""
    protect_stderr()
    protect_stdout()
    trim_variables(os.environ)
    words = sys.argv[1:] if arguments is None else arguments
    try:
        flags = vars(_parser().parse_args(words))
    except SystemExit as end:  # after its help, its version, or a word of what is wrong
        sys.exit(end.code or _unwritten())
    command = flags.pop("command")
    os.umask(0o077)  # whatever we make is for us alone, unless it says otherwise
    addresses = _given(words, os.environ)
    try:
        loaded = load(flags, os.environ)
    except (ConfigError, ModuleNotFoundError) as error:
        configure(level="info", format="text", colour=_colour(), clock=False, addresses=addresses)
        sys.exit(_report(error))
    settings = loaded.settings
    if command == "serve":
        detach_stderr()
    # The one-time commands are for people, also in a pipe.
    form = "text" if settings.log_format == "auto" and command != "serve" else settings.log_format
    addresses += [settings.database_url, settings.nats_url]
    configure(level=settings.log_level, format=form, colour=_colour(), clock=command == "serve", addresses=addresses)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    match command:
        case "check":
            sys.exit(_run(_check(loaded), settings) or _unwritten())
        case "migrate":
            sys.exit(_run(_migrate(settings), settings) or _unwritten())
        case _:
            sys.exit(_run(_serve(settings), settings))


def _unwritten() -> int:
    """Return the exit code for what stdout has taken of a result, and say so if it did not take all."""
    error = lost()
    if error is None or isinstance(error, BrokenPipeError):
        return 0
    sys.stderr.write(f"error: stdout could not be written ({error.strerror})\n")
    return UNWRITABLE


def _given(words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return whatever was given as an address, or may be one in the wrong place."""
    variables = [value for name, value in environ.items() if name.startswith(PREFIX)]
    addresses = [environ.get(option.variable, "") for option in OPTIONS if option.secret]
    return [*addresses, *(word for word in (*words, *variables) if ":/" in word)]


async def _serve(settings: Settings) -> None:
    # Half a second of imports: the embedded servers start meanwhile.
    loading = asyncio.create_task(in_thread(_load_app))
    async with _servers(settings, loading=loading) as settings:
        serve = await loading
        started = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            announcer = group.create_task(_announce(started, settings))
            await serve(settings, started=started)
            announcer.cancel()


def _load_app() -> Callable[..., Coroutine[Any, Any, None]]:
    from aikid.app import serve

    return serve


async def _announce(started: asyncio.Event, settings: Settings) -> None:
    await started.wait()
    _tell_starter(settings.nats_url)
    log.info("aikid is ready on %s", shown(settings.nats_url), extra={"pid": os.getpid(), "version": version("aiki")})


def _tell_starter(nats_url: str) -> None:
    """Tell the process that started us where we serve, if it wants to know."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdecimal():
        with suppress(OSError):  # whoever started us by other means may have closed it
            os.write(int(descriptor), f"{nats_url}\n".encode())
            os.close(int(descriptor))


async def _migrate(settings: Settings) -> None:
    from aikid.store.migrate import head

    async with _servers(dataclasses.replace(settings, migrate=True), nats=False):
        print(f"the schema is at {head()}")  # noqa: T201  # the command's result


async def _check(loaded: Loaded) -> None:
    """Print the settings with their origins, then try both servers."""
    from aikid import probe

    for option in OPTIONS:
        value = getattr(loaded.settings, option.field or option.name)
        text = shown(value) if option.secret else str(value)
        print(f"{option.name:14} {text or '-':40} {loaded.origins.get(option.name, 'default')}")  # noqa: T201  # the command's result
    if loaded.settings.embedded:
        from aikid.embedded import binaries, home

        account = home.account_for(loaded.settings.data_dir)
        print(f"Postgres is in {binaries.postgres_folder(account)}, NATS is {binaries.nats_server(account)}")  # noqa: T201
        return
    seconds = min(_CHECK_SECONDS, loaded.settings.start_timeout_seconds)
    settings = dataclasses.replace(loaded.settings, migrate=False, start_timeout_seconds=seconds)
    await probe.wait_for_postgres(settings)
    await probe.open_pool(settings)
    await probe.wait_for_nats(settings)
    print("Postgres and NATS answer, and the schema is right")  # noqa: T201


@asynccontextmanager
async def _servers(
    settings: Settings, *, nats: bool = True, loading: Awaitable[object] | None = None
) -> AsyncIterator[Settings]:
    """Wait until Postgres (migrated) and NATS answer; start them first with `embedded`. Yields settings with URLs."""
    async with AsyncExitStack() as stack:
        if settings.embedded:
            from aikid.embedded.supervisor import embedded_servers

            addresses = await stack.enter_async_context(
                embedded_servers(
                    settings.data_dir,
                    nats_port=settings.nats_port,
                    start_seconds=settings.start_timeout_seconds,
                )
            )
            settings = dataclasses.replace(settings, **vars(addresses))
        if loading is not None:
            # Before the migration: SQLAlchemy must not be used here while another thread still imports parts of it.
            await loading
        from aikid import probe

        async with asyncio.TaskGroup() as group:
            group.create_task(probe.wait_for_postgres(settings))
            if nats:
                group.create_task(probe.wait_for_nats(settings))
        yield settings


def _run(work: Coroutine[Any, Any, None], settings: Settings) -> int:
    """Run `work` until it ends or a signal stops it, and return the exit code."""
    import uvloop

    # What is loaded stays, and requests leave no cycles: looking for them at every 700 objects is a tenth of the CPU.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_until_signal(work, settings.stop_timeout_seconds))
        except Exception as error:  # noqa: BLE001  # the edge of the process: each error becomes an exit code
            return max(_report(one) for one in _leaves(error))


def _report(error: BaseException) -> int:
    """Log why the process ends, and return its exit code."""
    match error:
        case FileUnreadable():
            code = NO_INPUT
        case ConfigError():
            code = CONFIGURATION
        case Denied():
            code = DENIED
        case Unavailable():
            code = UNAVAILABLE
        case ModuleNotFoundError(name=str(name)) if not name.startswith("aiki"):
            log.error(
                "the daemon needs %s, which is not installed", name, extra={"hint": "pip install 'aiki[embedded]'"}
            )
            return CONFIGURATION
        case _:
            log.critical("a bug in aikid: %s", error, exc_info=error)
            return INTERNAL
    log.error("%s", error, extra={"hint": error.hint} if error.hint else None)
    return code


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


async def _until_signal(work: Coroutine[Any, Any, None], stop_seconds: float) -> int:
    """Run `work`; the first signal to stop cancels it, and it may take `stop_seconds` to end. Returns 0.

    So does the end of the process that started us, if it is tied to us: both may come, and that is no second signal.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work, name="aikid")
    stopping = False

    def stop(number: Signals, reason: str) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            loop.call_later(stop_seconds, _exit_now, number, f"the stop took longer than {stop_seconds:g} s")
            task.cancel()
            log.info("stopping (%s); again to stop at once", reason)

    def on_signal(number: Signals) -> None:
        loop.call_soon_threadsafe(stop, number, number.name)

    def on_orphaned() -> None:
        with suppress(RuntimeError):  # it has ended already
            loop.call_soon_threadsafe(stop, Signals.SIGTERM, "the process that started it has ended")

    def on_second(number: Signals) -> None:
        _exit_now(number, "a second signal")

    watch_parent(on_orphaned)
    with obeying(on_signal, Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP, again=on_second):
        try:
            await task
        except asyncio.CancelledError:
            if not stopping:
                raise
    if stopping:
        log.info("stopped")
    return 0


def _exit_now(number: Signals, reason: str) -> NoReturn:
    """End this process without another step; the kernel ends the embedded servers with it."""
    log.warning("exiting at once: %s", reason)
    end_at_once(number)


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Parser(argparse.ArgumentParser):
    """A parser that repeats what it refuses without the passwords in it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with 2."""
        super().error(hide(message, *sys.argv[1:]))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="aikid",
        description="The Aiki daemon: it keeps runs in Postgres and hands them to workers over NATS.",
        epilog=f"{sources_note()}\n\nExamples:\n"
        "  aikid --embedded                                     all on this machine, data in .aiki/\n"
        "  AIKI_DATABASE_URL=postgresql://aiki@db/aiki aikid    servers of your own\n"
        "  aikid check --config aikid.toml                      try the settings and the servers",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"aikid {version('aiki')}")
    parser.add_argument(
        "command",
        nargs="?",
        choices=COMMANDS,
        default="serve",
        help="serve (default); migrate: bring the schema up to date and exit; check: try settings and servers and exit",
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings (AIKI_CONFIG)")
    for option in OPTIONS:
        if option.metavar is None:
            parser.add_argument(
                option.flag, action=argparse.BooleanOptionalAction, dest=option.name, default=None, help=option.about
            )
        else:
            parser.add_argument(option.flag, metavar=option.metavar, dest=option.name, help=option.about)
    return parser
