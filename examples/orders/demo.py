"""The demo: 500 orders through durable workflows, with the worker killed by `kill -9` half way.

    make demo

It starts a daemon with a Postgres and a NATS of its own, and a worker through the real command line; enqueues
orders.csv; kills the worker; starts another; and then compares the shop's own books with the CSV and with the
runs' histories. It exits with 0 only if every order was charged exactly once and nothing committed ran again.
"""

import argparse
import asyncio
import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from aiki import Client, State, Unavailable
from examples.orders.audit import Outage, Report, audit, moment_of, read_stories
from examples.orders.processes import Processes, free_port
from examples.orders.screen import Screen, open_screen
from examples.orders.shop import Shop

HERE = Path(__file__).parent
MANIFEST = HERE / "aiki.yaml"
TICK_SECONDS = 0.03
GIVE_UP_SECONDS = 180.0


@dataclass(frozen=True)
class Plan:
    """What is to be shown: a CSV of `count` orders, in `home`, with workers whose lease is `lease` seconds."""

    home: Path
    orders: Path
    count: int
    lease: float

    @property
    def shop(self) -> Path:
        return self.home / "shop"


def main() -> int:
    """Run the demo and return the exit code."""
    options = _options()
    plan = _plan(options.orders, options.lease)
    try:
        return asyncio.run(_run(plan))
    except KeyboardInterrupt:
        print("\nstopped; nothing was left running", file=sys.stderr)
        return 130
    except asyncio.CancelledError:
        return 143
    except (RuntimeError, TimeoutError) as error:
        print(f"error: {error}\n  the logs are in {_shown(plan.home)}", file=sys.stderr)
        return 1


async def _run(plan: Plan) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    Shop(plan.shop).close()  # the books exist before anybody looks into them
    with open_screen(plan.count) as screen, Processes(plan.home, _environment(plan)) as processes:
        port = free_port()
        url = processes.environment["AIKI_URL"] = f"nats://127.0.0.1:{port}"
        screen.say(f"starting aikid with a Postgres and a NATS of its own; all files are in {_shown(plan.home)}")
        processes.start("aikid", ["aikid", "--embedded", "--data-dir", plan.home / "data", "--nats-port", str(port)])
        namespace = processes.environment["AIKI_NAMESPACE"]
        await _until(lambda: _answers(url, namespace), processes)
        async with Client.connect(url, namespace=namespace) as client:
            report, seconds = await _show(plan, client, processes, screen)
    _print(plan, report, seconds)
    return 0 if report.all_hold else 1


async def _show(plan: Plan, client: Client, processes: Processes, screen: Screen) -> tuple[Report, float]:
    """Do it all on running servers; return what was found, and the seconds from the first enqueue to the last end."""
    first = _start_worker(plan, processes, "worker-1")
    await _until(lambda: _is_served(client), processes)
    began = time.monotonic()
    enqueuing = asyncio.create_task(_enqueue(plan, processes))

    async def is_half_way() -> bool:
        if enqueuing.done():
            enqueuing.result()  # raises if it failed
        return await _progress(plan, client, screen, lambda charged, _: charged >= plan.count / 2)

    await _until(is_half_way, processes)
    killed_at = processes.kill9(first)
    second_started_at = time.time()
    second = _start_worker(plan, processes, "worker-2")
    screen.say(f"kill -9 of worker-1 with {_charged(plan)} orders charged; started worker-2 (lease {plan.lease:g} s)")
    # Whoever is not sure that the orders arrived enqueues them again: each id is a key, and one key is one run.
    run_ids = [*await enqueuing, *await _enqueue(plan, processes)]

    await _until(lambda: _progress(plan, client, screen, lambda _, ended: ended >= plan.count), processes)
    seconds = time.monotonic() - began
    stories = await read_stories(client, dict.fromkeys(run_ids))
    processes.stop(second)
    outage = Outage(first.pid, second.pid, moment_of(killed_at), moment_of(second_started_at))
    return audit(plan.orders, plan.shop, stories, outage), seconds


def _start_worker(plan: Plan, processes: Processes, name: str) -> "subprocess.Popen[bytes]":
    lease = ["--lease", f"{plan.lease:g}s"]
    return processes.start(name, ["aiki", "worker", "start", "-f", MANIFEST, "-m", "orders", "--id", name, *lease])


async def _enqueue(plan: Plan, processes: Processes) -> list[str]:
    """Enqueue the CSV by the command line and return the ids of the runs."""
    return await processes.run(
        ["aiki", "enqueue", "process-order", "--from", plan.orders, "--key-field", "id", "-o", "ids"]
    )


async def _progress(plan: Plan, client: Client, screen: Screen, enough: Callable[[int, int], bool]) -> bool:
    """Show how far the orders are; tell whether it is `enough(charged, ended)`."""
    charged = _charged(plan)
    counts = (await client.runs.summary()).counts
    ended = sum(row.runs for row in counts if row.state in (State.COMPLETED, State.FAILED))
    screen.show(charged, ended)
    return enough(charged, ended)


def _charged(plan: Plan) -> int:
    with closing(sqlite3.connect(plan.shop / "books.db", timeout=10)) as books:
        (charged,) = books.execute("select count(*) from charges").fetchone()
        return int(charged)


async def _is_served(client: Client) -> bool:
    return any(workflow.live for workflow in await client.workflows.list("process-order"))


async def _answers(url: str, namespace: str) -> bool:
    try:
        async with Client.connect(url, namespace=namespace):
            return True
    except Unavailable:
        return False


async def _until(condition: Callable[[], Awaitable[bool]], processes: Processes) -> None:
    """Wait for the condition. Raises RuntimeError if a process ended meanwhile, TimeoutError after three minutes."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not await condition():
        processes.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the orders were not done within {GIVE_UP_SECONDS:g} s")
        await asyncio.sleep(TICK_SECONDS)


def _print(plan: Plan, report: Report, seconds: float) -> None:
    print()
    for finding in report.findings:
        print(f"  {'✓' if finding.holds else '✗ FAILED:'} {finding.says}")
    print(
        f"\n  {plan.count} orders in {seconds:.1f} s, the outage included: {plan.count / seconds:.0f} runs/s\n"
        f"  {report.recovered_after:.1f} s after the kill the last of {report.held} runs was taken up again "
        f"(lease {plan.lease:g} s)\n"
        f"  {report.repeats} of {3 * plan.count} task bodies ran again: they had no committed result at the kill"
    )
    print("\nall of it holds" if report.all_hold else "\nNOT all of it holds", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.orders.demo", description="Orders that survive kill -9.")
    parser.add_argument("--orders", type=int, default=500, metavar="N", help="the first N orders of the CSV (500)")
    parser.add_argument("--lease", type=float, default=3.0, metavar="SECONDS", help="of the workers (3)")
    return parser.parse_args()


def _plan(orders: int, lease: float) -> Plan:
    home = _fresh_folder()
    source = HERE / "orders.csv"
    with source.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    chosen = source
    if orders < len(rows):
        chosen = home / "orders.csv"
        with chosen.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows[:orders]])
    return Plan(home, chosen, min(orders, len(rows)), lease)


def _fresh_folder() -> Path:
    """Return an empty `.demo`; or a temporary folder, if this user may not write here."""
    home = Path.cwd() / ".demo"
    try:
        if home.exists():
            shutil.rmtree(home)
        home.mkdir()
    except OSError:
        home = Path(tempfile.mkdtemp(prefix="aiki-demo-"))
    # The servers' own account has to enter it, if we are root.
    home.chmod(0o711)
    return home


def _environment(plan: Plan) -> dict[str, str]:
    """Return the environment of all processes: no AIKI_* of the user's, a namespace of our own, the shop's folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIKI_")}
    return {**kept, "AIKI_NAMESPACE": f"demo-{uuid.uuid4().hex[:8]}", "SHOP_HOME": str(plan.shop)}


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
