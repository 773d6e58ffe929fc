"""An incident as a person lives through it: a deploy blocks 200 runs, and none is lost and nothing is charged twice.

Found by `aiki why`, taken home by `aiki run export`, looked at by `aiki replay --debug`, mended, tried on all of them
by `aiki replay --since`, deployed, and let go on by `aiki run resume`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.servers import clean_environment
from tests.waiting import patient, wait_until_sync

RUNS = int(os.environ.get("AIKI_INCIDENT_RUNS") or 200)
FLOWS = """
from pathlib import Path

from aiki import Event, WorkflowRun, task, task_run, workflow

packed = Event("packed", type=str)
LEDGER = Path(__file__).parent / "ledger"


@task
async def charge(order: str, cents: int) -> str:
    with LEDGER.open("a") as ledger:
        ledger.write(f"charge {{order}} {{task_run().idempotency_key}}\\n")
    return f"paid-{{order}}"


@task
async def check_stock(order: str) -> bool:
    return True


@task
async def ship(order: str) -> str:
    with LEDGER.open("a") as ledger:
        ledger.write(f"ship {{order}} {{task_run().idempotency_key}}\\n")
    return f"shipped-{{order}}"


@workflow(name="order", version="1", events=[packed])
async def order(run: WorkflowRun, id: str, cents: int) -> str:
    {before}
    paid = await charge.run(run, id, cents)
    by = await run.wait_for(packed)
    return f"{{paid}} {{await ship.run(run, id)}} {{by}}"
"""
AS_IT_WAS = FLOWS.format(before="pass")
BROKEN = FLOWS.format(before="await check_stock.run(run, id)")
MENDED = FLOWS.format(before='if run.patched("check-stock"):\n        await check_stock.run(run, id)')


def kept(told):
    """Write down what was typed and seen, if a file is named for that."""
    if path := os.environ.get("AIKI_INCIDENT_FILE"):
        with Path(path).open("a") as file:
            file.write(told)


def shortened(text):
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:20], f"... and {len(lines) - 20} more\n"] if len(lines) > 20 else lines)


def test_a_deploy_blocks_runs_and_all_of_them_complete(aiki, start, flows, namespace, tmp_path):
    own = {"AIKI_NAMESPACE": namespace}
    shop, home = flows, tmp_path / "home"
    home.mkdir()

    def typed(*arguments, **more):
        done = aiki(*arguments, env=own | {"COLUMNS": "120"}, **more)
        kept(f"$ aiki {' '.join(arguments)}\n{shortened(done.out)}{done.err}[exit code {done.code}]\n\n")
        return done

    def deploy(code):
        (shop / "shop.py").write_text(code)
        worker = start("worker", "start", "-m", "shop", env=own)
        worker.wait_for_log("serves")
        return worker

    def states():
        return {state: aiki("run", "list", "--state", state, "--count", env=own).out.strip() for state in STATES}

    worker = deploy(AS_IT_WAS)
    rows = "".join(json.dumps({"id": f"o{n}", "cents": n}) + "\n" for n in range(RUNS))
    assert aiki("enqueue", "order", "--from", "-", "--key-field", "id", stdin=rows, env=own).code == 0
    wait_until_sync(lambda: states()["waiting"] == str(RUNS), 90)
    assert worker.terminate(signal.SIGTERM) == 0

    worker = deploy(BROKEN)
    ids = aiki("run", "list", "--limit", str(RUNS), "-o", "ids", env=own).lines
    sent = typed("event", "send", "--workflow", "order", "packed", "-p", '"ada"', "--yes")
    assert sent.code == 0
    wait_until_sync(lambda: states()["blocked"] == str(RUNS), 120)

    typed("status", "-o", "table")
    why = typed("why", ids[0], "-o", "table")
    assert "charge" in why.out
    assert typed("run", "export", ids[0], "--to", str(home / "run.jsonl"), "-o", "table").code == 0

    looked = at_home(home, BROKEN, ["p id, cents", "l", "q"], "--debug")
    assert looked.returncode == 1
    assert "diverges" in looked.stderr
    assert "check_stock" in looked.stdout
    assert at_home(home, MENDED, [], "--strict").returncode == 0

    assert worker.terminate(signal.SIGTERM) == 0
    (shop / "shop.py").write_text(MENDED)
    replayed = typed("replay", "--since", "1d", "-m", "shop", "--strict", "-o", "table")
    assert replayed.code == 0, replayed
    assert f"{RUNS:,} compatible" in replayed.err
    deploy(MENDED)
    resumed = typed("run", "resume", "--workflow", "order", "--state", "blocked", "--yes", "-o", "tsv")
    assert resumed.code == 0
    wait_until_sync(lambda: states()["completed"] == str(RUNS), 120)
    typed("status", "-o", "table")

    ledger = [line.split() for line in (shop / "ledger").read_text().splitlines()]
    kept(f"$ sort ledger | uniq -d | wc -l\n{len(ledger) - len({tuple(line) for line in ledger})}\n")
    assert len(ledger) == 2 * RUNS, "each order was charged once, and shipped once"
    assert len({tuple(line) for line in ledger}) == 2 * RUNS
    assert {what for what, *_ in ledger} == {"charge", "ship"}


STATES = ("waiting", "blocked", "completed")


def at_home(home, code, keys, *arguments):
    """Replay the file on some code as a developer does, who has no server."""
    (home / "shop.py").write_text(code)
    command = ["replay", "--file", "run.jsonl", "-m", "shop", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "aiki_cli", *command],
        cwd=home,
        input="\n".join(keys) + "\n",
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    kept(f"$ aiki {' '.join(command)}\n{done.stdout}{done.stderr}[exit code {done.returncode}]\n\n")
    return done
