"""Runs replayed in processes: what the code at hand does to one of them costs one run alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from aiki import ConfigError
from aiki.replay import Code, Finding, Recording, Verdict, replay_apart
from aiki.replay.parcels import packed
from aiki.testing import TestEnv
from tests.unit.replay import hostile
from tests.waiting import patient, wait_until_sync

pytestmark = pytest.mark.anyio
CODE = Code(["tests.unit.replay.hostile"], run_seconds=patient(1))
TREE = Path(__file__).parents[3]
HOW = {
    "nothing": (Finding.COMPATIBLE, ""),
    "print": (Finding.COMPATIBLE, ""),
    "fork": (Finding.COMPATIBLE, ""),
    "fork_on": (Finding.COMPATIBLE, ""),
    "loop": (Finding.UNKNOWN, "needs more than 1 s: it is at "),
    "sleep": (Finding.UNKNOWN, "needs more than 1 s: it is at "),
    "swallow": (Finding.UNKNOWN, "needs more than 1 s: it is at "),
    "sleep_in_c": (Finding.UNKNOWN, "needs more than 1 s"),
    "exit": (Finding.DIVERGES, "entry 2, task step"),
    "stack": (Finding.DIVERGES, "entry 2, task step"),
    "task": (Finding.DIVERGES, "entry 2, task step"),
    "os_exit": (Finding.UNKNOWN, "ended its process with exit code 3"),
    "segfault": (Finding.UNKNOWN, "ended its process by SIGSEGV"),
    "kill_group": (Finding.UNKNOWN, "ended its process by SIGKILL"),
    "close": (Finding.UNKNOWN, "ended its process"),
}


@pytest.fixture(autouse=True)
def hostile_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the code at hand be hostile, which it was not when its runs ran."""
    monkeypatch.setenv("HOSTILE", "1")
    monkeypatch.setenv("PYTHONPATH", str(TREE))


async def recorded(*how: str) -> list[Recording]:
    async with TestEnv() as env:
        handles = [await env.enqueue(hostile.hostile, one) for one in how]
        for handle in handles:
            await handle.result()
        return [one async for one in env.client.runs.export([handle.run_id for handle in handles])]


async def given(recordings: list[Recording]) -> AsyncGenerator[Recording, None]:
    for one in recordings:
        yield one


def children() -> list[str]:
    """Return the processes of ours that replay."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    ours = [line.split(None, 2) for line in listed.splitlines()]
    return [pid for pid, parent, command in ours if parent == str(os.getpid()) and "aiki.replay.child" in command]


async def verdicts(recordings: list[Recording], code: Code = CODE, processes: int = 2) -> dict[str, Verdict]:
    async with aclosing(replay_apart(given(recordings), code, processes=processes)) as found:
        return {one.run_id: one async for one in found}


async def test_whatever_a_body_does_costs_its_run_alone(capfd: pytest.CaptureFixture[str]) -> None:
    recordings = await recorded(*HOW, *["nothing"] * 30)
    capfd.readouterr()
    found = await verdicts(recordings)
    assert len(found) == len(recordings)
    for how, one in zip(HOW, recordings, strict=False):
        finding, why = HOW[how]
        verdict = found[one.run_id]
        assert verdict.finding is finding, (how, verdict)
        assert why.replace("1 s", f"{CODE.run_seconds:g} s") in verdict.why, (how, verdict)
        if how in ("loop", "sleep", "swallow"):
            assert verdict.place is not None
            assert verdict.place.file == hostile.__file__
    assert all(found[one.run_id].finding is Finding.COMPATIBLE for one in recordings[len(HOW) :])
    assert capfd.readouterr() == ("", "")
    assert not children()


async def test_who_stops_listening_ends_all_processes() -> None:
    recordings = await recorded("nothing", "loop", "loop", "loop")
    begun = time.monotonic()
    async with aclosing(replay_apart(given(recordings), Code(CODE.modules), processes=2)) as found:
        assert (await anext(found)).finding is Finding.COMPATIBLE
        assert len(children()) == 2
    assert not children()
    assert time.monotonic() - begun < patient(5)


async def test_an_error_of_the_reading_reaches_who_asked() -> None:
    async def broken() -> AsyncGenerator[Recording, None]:
        for one in await recorded("nothing"):
            yield one
        raise ConnectionError("gone")

    async with aclosing(replay_apart(broken(), CODE)) as found:
        with pytest.raises(ConnectionError, match="gone"):
            [await anext(found) for _ in range(2)]
    assert not children()


async def test_a_module_that_cannot_be_imported_costs_its_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "broken_flows.py").write_text("import a_module_that_is_not_here\n")
    recordings = await recorded("nothing")
    code = Code(["broken_flows", *CODE.modules], [tmp_path])
    (verdict,) = (await verdicts(recordings, code)).values()
    assert verdict.finding is Finding.COMPATIBLE
    (verdict,) = (await verdicts(recordings, Code(code.modules, [tmp_path], as_version="2"))).values()
    assert verdict.finding is Finding.UNKNOWN
    assert "needs workflow 'hostile' version '2': the code at hand has 1" in verdict.why
    assert "No module named 'a_module_that_is_not_here'" in verdict.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import a_module_that_is_not_here", "No module named 'a_module_that_is_not_here'"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(1)", "SystemExit"),
        ("import os; os._exit(4)", "ended its process with exit code 4"),
    ],
)
async def test_a_module_without_which_there_is_nothing_is_told(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "broken_flows.py").write_text(text)
    with pytest.raises(ConfigError, match=why):
        await verdicts(await recorded("nothing"), Code(["broken_flows"], [tmp_path]))
    assert not children()


PROGRAM = """
import asyncio, sys
from aiki.replay import Code, replay_apart
from aiki.replay.parcels import unpacked

async def given():
    for line in sys.stdin.buffer:
        yield unpacked(bytes.fromhex(line.decode()))

async def main():
    code = Code(["tests.unit.replay.hostile"], run_seconds=1000)
    async for verdict in replay_apart(given(), code, processes=1):
        print(verdict.finding, flush=True)

asyncio.run(main())
"""


async def test_processes_end_with_whoever_has_started_them() -> None:
    recordings = await recorded("nothing", "sleep_in_c")
    words = b"".join(packed(one).hex().encode() + b"\n" for one in recordings)
    await asyncio.to_thread(_start_and_kill, words)


def _start_and_kill(words: bytes) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(words)
        parent.stdin.close()
        assert parent.stdout.readline() == b"compatible\n"
        (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.kill()
    wait_until_sync(lambda: not Path(f"/proc/{child}").exists())
