"""`aiki replay --debug`: pdb, with the real values of a run that was exported, at home and without a server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import clean_environment
from tests.waiting import patient

FLOWS = """
from aiki import Event, WorkflowRun, task, workflow

approved = Event("approved", type=str)


@task
async def price(item: str) -> int:
    raise AssertionError("no task runs in a replay")


async def total_of(run: WorkflowRun, items: list[str]) -> int:
    total = 0
    for item in items:
        total += await price.run(run, item)
    {helper}
    return total


@workflow(name="basket", version="1", events=[approved])
async def basket(run: WorkflowRun, items: list[str]) -> str:
    total = await total_of(run, items)
    {body}
    who = await run.wait_for(approved)
    return f"{{who}} pays {{total}}"
"""
AS_IT_WAS = FLOWS.format(helper="pass", body="pass")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The file of a run that waits, made with the engine in memory."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "record.py").write_text(
        AS_IT_WAS.replace('raise AssertionError("no task runs in a replay")', "return len(item)") + RECORD
    )
    subprocess.run([sys.executable, "record.py"], cwd=folder, env=clean_environment(), check=True, timeout=patient(60))
    return folder / "run.jsonl"


RECORD = """

async def record() -> None:
    from aiki.replay.files import Writer
    from aiki.testing import TestEnv

    async with TestEnv() as env:
        handle = await env.enqueue(basket, ["tea", "cakes"])
        await env.advance("1m")
        with open("run.jsonl", "wb") as stream:
            writer = Writer(stream)
            writer.begin(namespace="shop", exported_at=1)
            async for recording in env.client.runs.export([handle.run_id], history=True):
                writer.add(recording)
            writer.end()


if __name__ == "__main__":
    import asyncio

    asyncio.run(record())
"""


def debug(exported, code, typed, *arguments):
    """Return what a person sees who types that at the debugger."""
    (exported.parent / "flows.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "aiki_cli", "replay", "--file", exported.name, "-m", "flows", *arguments],
        cwd=exported.parent,
        input="\n".join(typed) + "\n",
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_run_that_fits_stops_where_it_waits_with_its_values(exported):
    code, out, err = debug(exported, AS_IT_WAS, ["p total, items", "q"], "--debug")
    assert code == 0, err
    assert "(8, ['tea', 'cakes'])" in out
    assert "compatible; here it waits, as it does there" in err
    assert "\tcompatible\t" in out


def test_a_breakpoint_of_the_bodys_own_stops_there(exported):
    code, out, err = debug(
        exported, FLOWS.format(helper="pass", body="breakpoint()"), ["p total + 100", "c", "q"], "--debug"
    )
    assert code == 0, err
    assert "108" in out


def test_where_a_run_does_not_fit_the_debugger_opens_in_the_frame_that_waits(exported):
    changed = FLOWS.format(helper='total += await price.run(run, "wrapping")', body="pass")
    changed = changed.replace("for item in items", "for item in items[:1]")
    code, out, err = debug(exported, changed, ["p item, total", "up", "p items", "q"], "--debug")
    assert code == 1, err
    assert "diverges" in err
    assert "here it waits" in err
    assert "('tea', 3)" in out
    assert "['tea', 'cakes']" in out, "and in the frame that has called it"


def test_where_a_body_raises_the_debugger_opens_there(exported):
    broken = FLOWS.format(helper="assert total < 5, total", body="pass")
    _, out, err = debug(exported, broken, ["p total", "q"], "--debug")
    assert "here it has raised" in err
    assert "8" in out
    assert "AssertionError" in err + out


def test_step_begins_at_the_bodys_first_line(exported):
    code, out, err = debug(exported, AS_IT_WAS, ["p items", "n", "n", "p total", "c", "q"], "--step")
    assert code == 0, err
    assert "total = await total_of(run, items)" in out
    assert "['tea', 'cakes']" in out


def test_who_quits_in_a_body_is_out(exported):
    code, _, err = debug(exported, FLOWS.format(helper="pass", body="breakpoint()"), ["q"], "--debug")
    assert code == 130, err


def test_stdin_is_the_debuggers(exported):
    (exported.parent / "flows.py").write_text(AS_IT_WAS)
    done = subprocess.run(
        [sys.executable, "-m", "aiki_cli", "replay", "--file", "-", "-m", "flows", "--debug"],
        cwd=exported.parent,
        input=exported.read_bytes(),
        env=clean_environment(),
        capture_output=True,
        timeout=patient(60),
        check=False,
    )
    assert done.returncode == 2
