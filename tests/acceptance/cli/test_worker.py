"""`aiki worker`: what one serves, how it follows changes, how it ends, and who lives."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.servers import descendants, is_alive
from tests.servers.operator import HOUR_SECONDS, Operator
from tests.waiting import patient, wait_until_sync

APART = """
import time
from pathlib import Path
from aiki import Retry, WorkflowRun, task, workflow


@task(executor="process", retry=Retry.none())
def hold(gate: str) -> str:
    Path(gate + ".begun").touch()
    while not Path(gate).exists():
        time.sleep(0.02)
    return "open"


@workflow(name="apart", version="1")
async def apart(run: WorkflowRun, gate: str) -> str:
    return await hold.run(run, gate)
"""


@pytest.fixture
def own(namespace):
    """Variables of a namespace of the test's own."""
    return {"AIKI_NAMESPACE": namespace}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "nothing_there"], "no module named 'nothing_there'"),
        (["-m", "broken"], "ZeroDivisionError"),
        (["-m", "empty"], "holds no workflow"),
        (["-m", "flows", "-m", "flows_again"], "two workflows are 'hello' version '1'"),
        ([], "no module was named"),
    ],
)
def test_what_cannot_be_served_is_a_configuration_error(aiki, flows, arguments, message):
    (flows / "broken.py").write_text("1 / 0\n")
    (flows / "empty.py").write_text("")
    (flows / "flows_again.py").write_text((flows / "flows.py").read_text())
    done = aiki("worker", "start", *arguments)
    assert (done.code, done.out) == (78, "")
    assert message in done.err
    assert "aiki_cli" not in done.err


def test_without_m_the_manifests_modules_are_served(aiki, start, flows, own):
    (flows / "src").mkdir()
    (flows / "flows.py").rename(flows / "src" / "theirs.py")
    (flows / "aiki.yaml").write_text("aiki: 1\nmodules: {all: [theirs]}\npath: [src]\nworker: {max_concurrent_runs: 2}")
    start("worker", "start", env=own).wait_for_log("serves hello 1")
    assert aiki("enqueue", "hello", "--wait", env=own).out == '"HELLO ADA"\n'


LIFESPAN = """
from contextlib import asynccontextmanager
from pathlib import Path

@asynccontextmanager
async def lifespan():
    Path("entered").touch()
    yield
    Path("left").touch()

@asynccontextmanager
async def broken():
    raise OSError("the pool is away")
    yield

nothing = 7
"""


def test_what_tasks_share_is_made_by_the_manifests_lifespan(aiki, start, flows, own):
    (flows / "app.py").write_text(LIFESPAN)
    manifest = flows / "aiki.yaml"
    manifest.write_text("aiki: 1\nworker: {lifespan: 'app:lifespan'}")
    worker = start("worker", "start", "-m", "flows", env=own)
    worker.wait_for_log("serves")
    assert (flows / "entered").exists()
    assert not (flows / "left").exists()
    assert worker.terminate() == 0
    assert (flows / "left").exists()
    for name, words in (
        ("app:broken", ["OSError: the pool is away", "in broken"]),
        ("app:nothing", ["app has no function 'nothing'"]),
        ("app:missing", ["app has no function 'missing'"]),
        ("missing:lifespan", ["no module named 'missing'"]),
    ):
        manifest.write_text(f"aiki: 1\nworker: {{lifespan: '{name}'}}")
        done = aiki("worker", "start", "-m", "flows", env=own)
        assert done.code == 78
        assert all(word in done.err for word in words)


def test_sigterm_drains_and_exits_0(aiki, start, flows, own):
    worker = start("worker", "start", "-m", "flows", "--drain", "20s", env=own)
    worker.wait_for_log("serves")
    gate = flows / "gate"
    run_id = aiki("enqueue", "held", f"gate={gate}", env=own).lines[0]
    wait_until_sync(lambda: "running" in aiki("status", run_id, env=own).out, what="the run to start")
    assert worker.process is not None
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for_log("draining")

    def is_draining() -> bool:
        (one,) = aiki("worker", "list", "-o", "json", env=own).json["workers"]
        return bool(one["draining"])

    wait_until_sync(is_draining, what="the drain to be told of")
    gate.touch()
    assert worker.wait() == 0
    # The task ended within the drain time, so it is recorded; the run itself may be left to the next worker.
    assert aiki("status", run_id, "-o", "json", env=own).json["tasks"] == 1


def test_a_worker_tells_of_its_runs_unless_it_is_to_be_quiet(aiki, start, flows, own):
    quiet = start("worker", "start", "-m", "flows", "-q", env=own)
    wait_until_sync(lambda: aiki("status", "-o", "json", env=own).json["workers"] == 1, what="the worker")
    aiki("enqueue", "failing", "reason=no luck", "--wait", env=own)
    assert quiet.terminate() == 0
    assert quiet.logged() == ""
    talkative = start("worker", "start", "-m", "flows", env=own)
    talkative.wait_for_log("serves")
    good = aiki("enqueue", "hello", "--wait", "-o", "json", env=own).json["id"]
    bad = aiki("enqueue", "failing", "reason=no luck", "--wait", "-o", "json", env=own).json["id"]
    for line in (
        f"hello {good} started",
        f"hello {good} completed in ",
        f"failing {bad} task break_down gave up: RuntimeError: no luck",
        f"failing {bad} failed: TaskFailed: ",
    ):
        talkative.wait_for_log(line)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_its_processes_drains_like_one_to_the_worker_alone(aiki, start, flows, own, number):
    """As from a terminal to its foreground group, or from an init to its control group."""
    (flows / "apart.py").write_text(APART)
    worker = start("worker", "start", "-m", "apart", "--drain", "20s", env=own)
    worker.wait_for_log("serves")
    gate = flows / "gate"
    run_id = aiki("enqueue", "apart", f"gate={gate}", env=own).lines[0]
    wait_until_sync((flows / "gate.begun").exists, what="the task in its process")
    for pid in (worker.pid, *descendants(worker.pid)):
        os.kill(pid, number)
    worker.wait_for_log("draining")
    gate.touch()
    assert worker.wait() == 0
    assert aiki("status", run_id, "-o", "json", env=own).json["tasks"] == 1
    assert "Traceback" not in worker.logged()


def test_a_worker_is_listed_with_what_it_runs_until_its_lease_is_over(aiki, start, flows, own):
    assert aiki("worker", "list", env=own).out == ""
    options = ["--id", "busy", "--max-concurrent-runs", "7", "--lease", "1s"]
    worker = start("worker", "start", "-m", "flows", *options, env=own)
    worker.wait_for_log("serves")
    aiki("enqueue", "held", f"gate={flows / 'gate'}", env=own)

    def columns() -> list[str]:
        return aiki("worker", "list", env=own).out.rstrip("\n").split("\t")

    wait_until_sync(lambda: columns()[3] == "1", what="the run to start")
    name, session, slots, _, _, _, draining, total, routes = columns()
    assert (name, slots, draining) == ("busy", "7", "false")
    assert int(total) >= len(routes.split(", ")) == 10
    assert "held 1" in routes
    assert aiki("worker", "list", "-o", "ids", env=own).lines == [session]
    os.kill(worker.pid, signal.SIGKILL)
    wait_until_sync(lambda: not aiki("worker", "list", env=own).out, what="the lease to run out")


def test_a_second_sigint_gives_up_at_once(aiki, start, flows, own):
    worker = start("worker", "start", "-m", "flows", env=own)
    worker.wait_for_log("serves")
    run_id = aiki("enqueue", "held", f"gate={flows / 'gate'}", env=own).lines[0]
    wait_until_sync(lambda: "running" in aiki("status", run_id, env=own).out, what="the run to start")
    assert worker.process is not None
    worker.process.send_signal(signal.SIGINT)
    worker.wait_for_log("draining")
    assert worker.terminate(signal.SIGINT) == 130


def test_processes_are_started_again_and_end_together(aiki, start, own):
    fleet = start("worker", "start", "-m", "flows", "--processes", "2", env=own)
    wait_until_sync(lambda: fleet.logged().count("serves") == 2, what="both workers")
    workers = descendants(fleet.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    wait_until_sync(lambda: fleet.logged().count("serves") == 3, what="a third worker")
    assert "starting it again" in fleet.logged()
    everyone = descendants(fleet.pid)
    assert aiki("enqueue", "hello", "--wait", env=own).code == 0
    assert fleet.terminate(signal.SIGTERM) == 0
    assert not any(is_alive(pid) for pid in everyone)


def test_a_fleet_that_cannot_start_says_so(aiki, own):
    done = aiki("worker", "start", "-m", "nothing_there", "--processes", "2", env=own)
    assert done.code == 78
    assert "nothing_there" in done.err


def test_reload_follows_changes_and_keeps_the_old_code_while_the_new_is_broken(aiki, start, flows, own):
    worker = start("worker", "start", "-m", "flows", "--reload", env=own)
    worker.wait_for_log("serves")
    assert aiki("enqueue", "hello", "--wait", env=own).out == '"HELLO ADA"\n'
    source = (flows / "flows.py").read_text()
    (flows / "flows.py").write_text(source + "\ndef broken(:\n")
    worker.wait_for_log("the old one goes on")
    assert "SyntaxError" in worker.logged()
    assert aiki("enqueue", "hello", "--wait", env=own).out == '"HELLO ADA"\n'
    (flows / "flows.py").write_text(source.replace("text.upper()", "text.capitalize()"))
    wait_until_sync(lambda: worker.logged().count("serves") == 2, what="the new worker")
    wait_until_sync(
        lambda: aiki("enqueue", "hello", "--wait", env=own).out == '"Hello ada"\n', 20.0, what="the new code"
    )
    assert worker.terminate(signal.SIGTERM) == 0


def test_the_hash_seed_is_fixed_for_replay(aiki, start, flows, own):
    (flows / "seed.py").write_text(
        "import sys\nfrom aiki import WorkflowRun, workflow\n\n"
        '@workflow(name="seed", version="1")\nasync def seed(run: WorkflowRun) -> bool:\n'
        "    return sys.flags.hash_randomization == 0\n"
    )
    start("worker", "start", "-m", "seed", env=own).wait_for_log("serves")
    assert aiki("enqueue", "seed", "--wait", env=own).out == "true\n"


def test_a_worker_waits_for_its_daemon_and_says_so(start, start_aikid, own, nats):
    worker = start("worker", "start", "-m", "flows", env={**own, "AIKI_URL": nats.url})
    worker.wait_for_log("trying for another")
    assert "no aikid serves namespace" in worker.logged()
    start_aikid()
    worker.wait_for_log("serves hello 1")
    assert "aikid is back after" in worker.logged()
    assert worker.terminate() == 0


@pytest.mark.parametrize("url", ["nats://127.0.0.1:1", None], ids=["without NATS", "without aikid"])
def test_a_worker_that_finds_no_daemon_within_its_start_timeout_ends_with_69(start, own, nats, url):
    began = time.monotonic()
    env = {**own, "AIKI_URL": url or nats.url, "AIKI_START_TIMEOUT": "3s"}
    worker = start("worker", "start", "-m", "flows", env=env)
    assert worker.wait() == 69
    assert 3 <= time.monotonic() - began < patient(10)
    assert worker.logged().count("trying for another") == 1


def test_a_start_timeout_of_zero_tries_once(start, own):
    worker = start("worker", "start", "-m", "flows", "--url", "nats://127.0.0.1:1", "--start-timeout", "0s", env=own)
    assert worker.wait() == 69
    assert "trying" not in worker.logged()


def test_a_start_timeout_that_is_no_duration_is_a_usage_error(aiki, own):
    for text in ("soon", "30", "-1s", "2000000d"):
        done = aiki("worker", "start", "-m", "flows", f"--start-timeout={text}", env=own)
        assert done.code == 2
        assert "duration" in done.err


@pytest.mark.parametrize(
    ("changes", "processes"),
    [
        pytest.param({"password": "two"}, 1, id="credentials"),
        pytest.param({"password": "two"}, 2, id="credentials of several processes"),
        pytest.param({"permissions": {"publish": {"deny": ["aiki.v1.*.api.session_renew"]}}}, 1, id="renewals"),
        pytest.param({"permissions": {"subscribe": {"deny": ["_INBOX.>"]}}}, 1, id="replies"),
    ],
)
def test_what_nats_refuses_for_the_start_timeout_ends_a_worker_with_77(
    start, start_aikid, own, make_nats, changes, processes
):
    nats = make_nats()
    nats.guard()
    start_aikid(nats_url=nats.url)
    options = ["--start-timeout", "1s", "--lease", "1s", "--drain", "1s", "--processes", str(processes)]
    worker = start("worker", "start", "-m", "flows", *options, env={**own, "AIKI_URL": nats.url})
    wait_until_sync(lambda: worker.logged().count("serves hello") == processes, 20)
    nats.guard(**changes)
    assert worker.wait() == 77
    assert "has refused us for 1 s: " in worker.logged()
    assert ":one@" not in worker.logged()


def test_credentials_that_expire_end_a_running_worker_with_77_and_it_says_so(start, start_aikid, own, make_nats):
    nats, operator = make_nats(), Operator()
    nats.restart_with(**operator.settings(), **operator.sentinel(seconds=HOUR_SECONDS))
    start_aikid(nats_url=nats.url)
    options = ["--start-timeout", "2s", "--lease", "1s", "--drain", "1s"]
    worker = start("worker", "start", "-m", "flows", *options, env={**own, "AIKI_URL": nats.url})
    worker.wait_for_log("serves hello")
    nats.restart_with(**operator.sentinel(seconds=patient(2)))
    assert worker.wait() == 77
    assert "has refused us for 2 s: User Authentication Expired, and now Authorization" in worker.logged()


def test_a_worker_warns_of_what_a_body_reads_unless_it_is_to_be_quiet(aiki, start, flows, own):
    code = (
        "import time\nfrom aiki import WorkflowRun, workflow\n@workflow\nasync def late(run: WorkflowRun) -> float:\n"
    )
    (flows / "late.py").write_text(f"{code}    return time.time()\n")
    worker = start("worker", "start", "-m", "late", env=own)
    worker.wait_for_log("serves")
    told = f"warning: {flows}/late.py:5: BodyWarning: workflow 'late': time.time() in late() is another on replay"
    assert f"{told}: use run.now()\n" in worker.logged()
    assert worker.terminate() == 0
    quiet = start("worker", "start", "-m", "late", "-q", env=own)
    assert aiki("enqueue", "late", "--wait", env=own).code == 0
    assert quiet.logged() == ""
