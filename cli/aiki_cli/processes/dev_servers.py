"""Own what `aiki dev` runs: the daemon with its embedded servers first, then a worker that follows the sources.

It ends them in the reverse order. It must never touch a server that it did not start.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiki import AikiError, ConfigError, Unavailable, UsageError
from aiki.core.ownership import objection, trusted_owners
from aiki.manifest import module_folders, resolve
from aiki.process.stderr import detach_stderr
from aiki_cli import exits
from aiki_cli.dev_record import DevRecord, recorded
from aiki_cli.processes.child import Child
from aiki_cli.processes.fleet import Fleet
from aiki_cli.processes.sources import Sources
from aiki_cli.processes.worker_process import DEFAULT_RUNS, worker_command, worker_environment
from aiki_cli.session import Common, Session
from aiki_cli.view.moments import span
from aiki_cli.view.output import Output
from aiki_cli.view.text import to_json
from aiki_cli.where import KEY_NAMES

START_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = 5.0
STOP_SECONDS: Final = 15.0
DEFAULT_PORT: Final = 4222
_EXAMPLES: Final = Path(__file__).parents[1] / "examples"


def run_dev(session: Session, modules: Sequence[str], example: str | None) -> int:
    """Run everything until Ctrl-C; return 0, or the exit code of what could not start.

    Raises ConfigError if the embedded servers are not installed or nothing can be served.
    """
    _require_daemon()
    names = [*modules, *([_write_example(session.out, example)] if example else [])]
    folders = module_folders(session.manifest, Path.cwd())
    if names or (session.manifest and session.manifest.modules):
        names = resolve(names, session.manifest, folders)
    began = time.monotonic()
    port = _wanted_port(session.common.url or os.environ.get("AIKI_URL"))
    detach_stderr()
    daemon = _start_daemon(session.out, port)
    try:
        url = _address(daemon)
        if url is None:
            return daemon.exit_code() or exits.BUG
        session.out.say(f"✓ Postgres, NATS and aikid on {url}   {time.monotonic() - began:.1f} s")
        namespace = Session(session.common.at_our_own(url)).namespace() or "default"
        with recorded(DevRecord(Path.cwd(), url, namespace, os.getpid())):
            if not url.endswith(f":{DEFAULT_PORT}"):
                reason = "" if port is None or url.endswith(f":{port}") else f"port {port} is taken; "
                session.out.say(f"  {reason}{_way_there(session, url)}")
            return _fleet(session, daemon, url, names, folders, example).run()
    finally:
        daemon.end(seconds=STOP_SECONDS)
        session.out.say("stopped; the data is kept in .aiki/")


def _way_there(session: Session, url: str) -> str:
    """Return how commands in other terminals get to `url`: by themselves, unless something else says where."""
    with contextlib.suppress(AikiError):
        if Session(Common(file=session.common.file)).url() == url:
            return f"commands in this folder find it by themselves; in others: export AIKI_URL={url}"
    return f"in other terminals: export AIKI_URL={url}"


def _fleet(
    session: Session, daemon: Child, url: str, modules: Sequence[str], folders: Sequence[Path], example: str | None
) -> Fleet:
    runs = (session.manifest and session.manifest.worker.max_concurrent_runs) or DEFAULT_RUNS
    ours = Session(session.common.at_our_own())
    command = worker_command(ours, modules, runs=runs, drain_seconds=DRAIN_SECONDS, further=["--apply"])
    manifest = [session.manifest.file] if session.manifest else []
    # Not as a flag: every user of the machine can read those.
    environment = {**worker_environment(), "AIKI_URL": url}

    def greet() -> None:
        if not modules:
            session.out.say("no modules to serve: aiki dev -m NAME, or aiki worker start -m NAME elsewhere")
        if example:
            # Beside the fleet, which must go on looking after its worker.
            threading.Thread(target=_run_example, args=(session, url, example), daemon=True).start()

    return Fleet(
        spawn=lambda: Child(command, environment=environment, on_line=partial(session.out.pass_on, "worker")),
        size=1 if modules else 0,
        say=session.out.say,
        drain_seconds=DRAIN_SECONDS,
        sources=Sources(folders, manifest) if modules else None,
        on_ready=greet,
        without=daemon.exit_code,
    )


def _wanted_port(url: str | None) -> int | None:
    """Return the port to serve on: that of `url` where it is on this machine; None leaves it to AIKI_NATS_PORT."""
    if os.environ.get("AIKI_NATS_PORT"):
        return None
    with contextlib.suppress(ValueError):  # no port, or no URL: nobody is asked to connect to it
        parts = urlsplit(url if "://" in (url or "") else f"//{url}")
        if parts.hostname in {"127.0.0.1", "localhost"} and parts.port:
            return parts.port
    return DEFAULT_PORT


def _start_daemon(out: Output, port: int | None) -> Child:
    # -P: the working directory must not shadow what the daemon imports.
    command = [sys.executable, "-P", "-m", "aikid", "--embedded", "--log-format", "text"]
    if not os.environ.get("AIKI_LOG_LEVEL"):
        command += ["--log-level", "warning"]
    if port is not None:
        command += ["--nats-port", str(port if _is_free(port) else 0)]
    # They name servers of somebody else's, and here we run our own.
    foreign = {"AIKI_DATABASE_URL", "AIKI_DATABASE_URL_FILE", "AIKI_NATS_URL", "AIKI_NATS_URL_FILE"}
    foreign |= {f"AIKI_{name.upper()}" for name in KEY_NAMES}
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    return Child(command, environment=environment, on_line=partial(out.pass_on, "aikid"))


def _address(daemon: Child) -> str | None:
    """Return where the daemon serves, once it says so; None if it ended. Raises Unavailable if it takes too long.

    It tells us itself: what stands in the data folder may be somebody else's.
    """
    deadline = time.monotonic() + START_SECONDS
    while daemon.exit_code() is None:
        if daemon.check_ready():
            return daemon.word
        if time.monotonic() > deadline:
            raise Unavailable(f"aikid does not answer within {START_SECONDS:g} s", hint="ls .aiki")
        time.sleep(0.02)
    return None


def _run_example(session: Session, url: str, example: str) -> None:
    try:
        asyncio.run(_enqueue_example(session, url, example))
    except AikiError as error:
        session.out.say(f"error: the example did not run: {error}")


async def _enqueue_example(session: Session, url: str, example: str) -> None:
    async with Session(session.common.at_our_own(url)).connect() as client:
        handle = await client.enqueue(example, {"name": "Ada"})
        result = await handle.result(timeout="30s")
        run = await handle.status()
    took = f" in {span(run.finished_at - run.created_at)}" if run.finished_at else ""
    session.out.say(f"✓ run {run.run_id} completed{took} → {to_json(result)}")
    session.out.say(f"  try: aiki enqueue {example} name=Grace --wait     Ctrl-C stops all, data is kept")


def _write_example(out: Output, example: str) -> str:
    """Write the example into the working directory, unless it is there, and return its module."""
    source = _EXAMPLES / f"{example}.py"
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in _EXAMPLES.glob("*.py")))
        raise UsageError(f"there is no example {example!r}, and expected {known}", hint="aiki dev --example hello")
    target = Path(f"{example}.py")
    text = source.read_text()
    try:
        with target.open("x") as made:  # never through a link
            made.write(text)
    except FileExistsError:
        _refuse_strangers(target)
        out.say(f"✓ {target} is there, and stays as it is")
    else:
        out.say(f"✓ wrote {target} ({len(text.splitlines())} lines)")
    return example


def _refuse_strangers(target: Path) -> None:
    """Raise ConfigError if the example that is there, and would be run, may have been written by somebody else."""
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{target} is there, and cannot be read ({error.strerror})") from error
    with os.fdopen(descriptor):
        if reason := objection(descriptor, trusted_owners()):
            raise ConfigError(
                f"{target} is there, {reason}, and would be run", hint="aiki dev --example hello   (in another folder)"
            )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _require_daemon() -> None:
    missing = [name for name in ("aikid", "psycopg", "sqlalchemy") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"aikid is not installed ({', '.join(missing)} missing)", hint="pip install 'aiki[embedded]'")
