"""Live views on a terminal, as an emulator reads them: a run's calls, what it waits for, and the way out."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.acceptance.cli.terminal import Terminal
from tests.waiting import wait_until_sync

FLOW = """

@workflow(name="fan", version="1")
async def fan(run: WorkflowRun, gate: str, n: int) -> int:
    gates = [hold.run(run, f"{gate}{i}") for i in range(3)]
    return len(await asyncio.gather(*[shout.run(run, f"{i}") for i in range(n)], *gates))
"""


@pytest.fixture
def terminal(environment, flows):
    """Start `aiki` with some arguments on a terminal of its own."""
    started = []

    def start(*arguments, size=(80, 24), piped=False, **variables):
        terminal = Terminal([*AIKI, *arguments], {**environment, **variables}, flows, size=size, piped=piped)
        started.append(terminal)
        return terminal

    yield start
    for one in started:
        one.close()


@pytest.fixture
def fanning(start, flows, namespace):
    """Variables of a namespace of the test's own, with a worker that serves the fan-out too."""
    own = {"AIKI_NAMESPACE": namespace}
    (flows / "flows.py").write_text((flows / "flows.py").read_text() + FLOW)
    start("worker", "start", "-m", "flows", env=own).wait_for_log("serves")
    return own


def test_a_run_is_drawn_until_its_end_and_its_page_stays(terminal, aiki, worker, flows):
    gate = flows / "gate"
    run_id = aiki("enqueue", "held", f"gate={gate}").lines[0]
    watch = terminal("status", run_id, "--watch")
    watch.shows("● running  held 1", "It is in task hold on worker", "● running  hold")
    watch.type("\n\n")
    gate.touch()
    assert watch.ends() == 0
    assert watch.lines[0].startswith("✓ completed  held 1")
    assert "running" not in watch.text
    assert not watch.screen.cursor.hidden


def test_a_fan_out_is_drawn_within_the_screen_whatever_size_it_gets(terminal, aiki, fanning, flows):
    gate = flows / "gate"
    waiting = terminal("enqueue", "fan", f"gate={gate}", "n:=60", "--wait", size=(80, 24), **fanning)
    screen = waiting.shows("✓ enqueued fan; waiting for", "60 done, 3 running", "● running  hold", "✓ done     shout")
    assert "… " in screen
    waiting.resize(60, 24)
    waiting.until(lambda text: all(len(line) < 60 for line in text.splitlines()[1:]), what="a narrower drawing")
    waiting.resize(110, 24)
    screen = waiting.shows("━")  # the chart of a wide screen
    assert screen.count("running  fan 1") == 1
    assert screen.count("calls ") == 1
    for number in range(3):
        (flows / f"gate{number}").touch()
    assert waiting.ends() == 0
    assert waiting.lines[-1] == "63"
    assert "✓ completed  fan 1" in waiting.lines[-3]
    assert waiting.lines[-2] == "  calls    63 done"


def test_the_next_try_is_counted_down_and_the_view_leaves_stdout_alone(terminal, aiki, worker):
    run_id = aiki("enqueue", "stumbling").lines[0]
    watch = terminal("wait", run_id, "-o", "json", size=(120, 24), piped=True)
    watch.shows("↻ retrying stumble", "TimeoutError: no answer", "again in ")
    watch.until(lambda text: "again in 2 s" in text or "again in 1 s" in text, what="the countdown")
    assert watch.ends() == 1
    screen = watch.text
    assert "✗ failed  stumbling 1" in screen
    assert "again in" not in screen
    assert '"outcome":"failed"' in watch.piped()


def test_what_a_run_waits_for_is_said_and_ctrl_c_lets_it_go_on(terminal, aiki, worker):
    run_id = aiki("enqueue", "asking").lines[0]
    waiting = terminal("wait", run_id)
    waiting.shows("… waiting  asking 1", "It waits for event 'approved' for", "… waiting  event approved")
    waiting.press_ctrl_c()
    assert waiting.ends() == 130
    assert f"nothing was cancelled; wait again: aiki wait {run_id}" in waiting.text.replace("\n", "")
    assert not waiting.screen.cursor.hidden
    assert aiki("status", run_id, "-o", "json").json["state"] == "waiting"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_what_is_waited_for_if_that_was_asked(terminal, aiki, worker, number):
    run_id = aiki("enqueue", "sleeper").lines[0]
    waiting = terminal("wait", run_id, "--cancel-on-interrupt")
    waiting.shows("sleeper 1")
    waiting.process.send_signal(number)
    assert waiting.ends() == 128 + number
    assert f"cancelled: {run_id}" in waiting.text
    assert aiki("status", run_id, "-o", "json").json["state"] == "cancelled"
    assert aiki("enqueue", "sleeper", "--cancel-on-interrupt").code == 2


def test_children_are_counted_and_the_newest_named(terminal, aiki, worker, flows):
    run_id = aiki("enqueue", "branch", f"gate={flows / 'gate'}", "leaves:=3").lines[0]
    watch = terminal("status", run_id, "--watch", size=(120, 30))
    watch.shows("children 3 running", "child leaf")
    (flows / "gate").touch()
    assert watch.ends() == 0


def test_several_runs_are_a_line_each_and_a_total(terminal, aiki, worker, flows):
    ids = [aiki("enqueue", "held", f"gate={flows / 'gate'}").lines[0] for _ in range(2)]
    done = aiki("enqueue", "hello").lines[0]
    waiting = terminal("wait", *ids, done)
    screen = waiting.shows("3 runs", "● 2 running", "✓ 1 completed", f"{done}\tcompleted".expandtabs())
    assert screen.count("● running    ") == 2
    (flows / "gate").touch()
    assert waiting.ends() == 0
    assert "3 completed" in waiting.lines[-1]
    assert "● " not in waiting.text


def test_a_dumb_terminal_gets_a_line_a_change(terminal, aiki, worker, flows):
    gate = flows / "gate"
    run_id = aiki("enqueue", "held", f"gate={gate}").lines[0]
    waiting = terminal("wait", run_id, TERM="dumb", size=(250, 24))
    waiting.shows(f"{run_id} running: held 1; is in task hold")
    gate.touch()
    assert waiting.ends() == 0
    assert f"{run_id} completed: held 1; task hold done" in waiting.text
    assert b"\x1b" not in waiting.raw


def test_off_a_terminal_each_change_is_a_line_on_stderr_unless_it_is_quiet(aiki, start, worker, flows):
    gate = flows / "gate"
    run_id = aiki("enqueue", "held", f"gate={gate}").lines[0]
    waiting, quiet = start("wait", run_id), start("wait", run_id, "-q")
    wait_until_sync(lambda: "is in task hold" in waiting.logged(), what="a line of its start")
    gate.touch()
    assert (waiting.wait(), quiet.wait()) == (0, 0)
    *_, last = waiting.logged().splitlines()
    assert last.endswith(f"{run_id} completed: held 1; task hold done")
    assert (waiting.printed(), quiet.logged()) == ('"open"\n', "")


def test_a_namespace_is_drawn_as_it_changes(terminal, aiki, own, flows):
    watch = terminal("status", "--watch", size=(60, 24), **own)
    watch.shows("no runs yet  1 worker")
    aiki("enqueue", "hello", "--wait", "-q", env=own)
    aiki("enqueue", "held", f"gate={flows / 'gate'}", env=own)
    screen = watch.shows("1 running", "held 1", "hello 1", "WORKER")
    assert all(len(line) < 60 for line in screen.splitlines())
    watch.press_ctrl_c()
    assert watch.ends() == 130
    assert "held 1" in watch.text


def test_a_view_that_rests_costs_nothing(terminal, aiki, worker):
    run_id = aiki("enqueue", "sleeper").lines[0]
    waiting = terminal("wait", run_id)
    waiting.shows("sleeper 1", "2 s")
    spent = _cpu_seconds(waiting.process.pid)
    waiting.shows("6 s")
    assert _cpu_seconds(waiting.process.pid) - spent < 0.4, "four seconds of a tick each"
    waiting.press_ctrl_c()
    assert waiting.ends() == 130


def _cpu_seconds(pid: int) -> float:
    if sys.platform != "linux":
        pytest.skip("it is read from /proc")
    ticks = subprocess.run(["cat", f"/proc/{pid}/stat"], capture_output=True, text=True, check=True).stdout
    user, system = ticks.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100
