"""A body that reads clocks, chance or the environment is told of it by its line; what only looks so is left alone."""

# The bodies below are wrong, each in its way.
# ruff: noqa: ASYNC251, DTZ001, DTZ003, DTZ005, DTZ011, F402, PTH118, RET503
# mypy: disable-error-code="attr-defined, var-annotated"

from __future__ import annotations

import asyncio
import datetime as dt
import os
import random
import random as chance
import secrets
import time
import uuid
import warnings
from datetime import date, datetime
from os import environ, getenv
from random import randint
from time import perf_counter
from time import time as t
from typing import Any

import pytest

from aiki import Event, WorkflowRun, task, workflow
from aiki.definitions.bodies import BodyWarning, readings, warn

shout = Event("shout", type=str)
now = datetime.now


class Clock:
    def time(self) -> float:
        return 0.0


clock = Clock()


class Lazy:
    """A proxy for what it cannot find here."""

    @property  # type: ignore[misc]
    def __class__(self):
        raise RuntimeError("there is no application")

    def __getattr__(self, name):
        raise RuntimeError("there is no application")


settings: Any = Lazy()


async def reads_clocks(run):
    time.time()
    t()
    perf_counter()
    time.monotonic_ns()
    datetime.now()
    dt.datetime.utcnow()
    dt.date.today()
    date.today()
    now()


async def reads_chance(run):
    random.random()
    chance.choice([1])
    randint(1, 2)
    random.Random()
    random.SystemRandom()
    secrets.token_hex()
    os.urandom(8)
    uuid.uuid4()
    uuid.uuid1()


async def reads_the_environment(run):
    os.environ["HOME"]
    environ.get("HOME")
    os.getenv("HOME")
    getenv("HOME")


async def holds_up(run):
    time.sleep(1)


async def imports_inside(run):
    import os.path
    import time as clock_of_mine
    from datetime import datetime as moment
    from datetime import timedelta

    clock_of_mine.time()
    moment.now()
    os.getenv("HOME")
    timedelta(1)


async def is_nested(run):
    def inside():
        return time.time()

    async def further():
        return [datetime.now() for _ in range(3)]

    return inside, further, lambda: uuid.uuid4(), {one: random.random() for one in range(2)}


async def nests_what_it_imports(run):
    import time as clock_of_mine
    from os import environ as around
    from time import time as moment

    def inside():
        return clock_of_mine.time() or moment()

    class Local:
        home = around

    return inside, Local, [clock_of_mine.sleep for _ in range(2)]


async def passes_it_on(run):
    return sorted([2, 1], key=lambda one: (one, time.time()))


ALL = [
    (
        reads_clocks,
        "time.time time.time time.perf_counter time.monotonic_ns datetime.now datetime.utcnow date.today date.today"
        " datetime.now",
    ),
    (
        reads_chance,
        "random.random random.choice random.randint random.Random random.SystemRandom secrets.token_hex os.urandom"
        " uuid.uuid4 uuid.uuid1",
    ),
    (reads_the_environment, "os.environ os.environ os.getenv os.getenv"),
    (holds_up, "time.sleep"),
    (imports_inside, "time.time datetime.now os.getenv"),
    (is_nested, "time.time datetime.now random.random uuid.uuid4"),
    (nests_what_it_imports, "time.time os.environ time.sleep"),
    (passes_it_on, "time.time"),
]


@pytest.mark.parametrize(("body", "expected"), ALL, ids=[body.__name__ for body, _ in ALL])
def test_what_differs_on_replay_is_found_by_what_it_is(body, expected):
    found = readings(body)
    assert [one.what.removesuffix("()") for one in found] == expected.split()
    assert all(one.file == __file__ and one.function == f"{body.__name__}()" for one in found)


def test_each_is_found_on_its_line():
    first = reads_clocks.__code__.co_firstlineno
    assert [one.line - first for one in readings(reads_clocks)] == list(range(1, 10))


async def shadows_names(run, time, random=None):
    time.time()
    random.random()
    datetime = clock
    datetime.now()
    for os in ():
        os.environ.get("HOME")
    if run:
        from time import time as either
    else:
        either = clock.time
    either()


async def means_others(run):
    clock.time()
    run.random()
    run.now()
    run.uuid()
    random.Random(run.random()).random()
    datetime.fromisoformat("2026-01-01")
    datetime(2026, 1, 1)
    secrets.compare_digest("a", "b")
    uuid.uuid5(uuid.NAMESPACE_DNS, "a")
    os.path.join("a", "b")
    await asyncio.sleep(1)
    asyncio.get_running_loop().time()


async def never_gets_there(run):
    return 1
    time.time()


async def is_meant_so(run):
    time.time()  # aiki: allow
    run.log.info("%s", time.time())  # aiki: allow - for the log alone
    time.time()  # the time


def makes_closure():
    def time():
        return 0

    async def body(run):
        return time()

    return body


def test_what_only_looks_so_is_left_alone():
    for body in (shadows_names, means_others, never_gets_there, makes_closure()):
        assert readings(body) == [], body.__name__


def test_a_line_that_is_meant_so_is_silent():
    (found,) = readings(is_meant_so)
    assert found.line == is_meant_so.__code__.co_firstlineno + 3


def helper():
    return time.time()


async def other_helper():
    return helper()


@task
async def charge() -> float:
    return time.time()


@workflow(name="calls-helpers")
async def calls_helpers(run: WorkflowRun) -> float:
    await charge.run(run)
    return helper()


async def calls_further(run):
    await other_helper()


def test_plain_functions_of_its_module_are_looked_into_one_level_deep_and_tasks_are_not():
    (found,) = readings(calls_helpers.fn)
    assert (found.line, found.function) == (helper.__code__.co_firstlineno + 1, "helper()")
    assert readings(calls_further) == []


def test_each_line_is_warned_of_once_with_the_word_to_use():
    with pytest.warns(BodyWarning) as caught:
        warn(calls_helpers.name, calls_helpers.fn)
    (one,) = caught
    assert (one.filename, one.lineno) == (__file__, helper.__code__.co_firstlineno + 1)
    assert str(one.message) == ("workflow 'calls-helpers': time.time() in helper() is another on replay: use run.now()")
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("default")
        warn("twice", reads_the_environment)
        warn("twice", reads_the_environment)
    assert len(again) == 4


async def asks_a_proxy(run):
    return settings.time(), time.time()


def test_a_proxy_is_not_asked_what_it_stands_for():
    assert [one.what for one in readings(asks_a_proxy)] == ["time.time()"]


def test_a_body_that_is_wrapped_is_looked_into():
    import functools

    @functools.wraps(holds_up)
    async def wrapped(run):
        return await holds_up(run)

    assert [one.what for one in readings(wrapped)] == ["time.sleep()"]
    assert readings(functools.partial(holds_up, None)) == []


def test_a_body_that_uses_nothing_of_pythons_own_costs_next_to_nothing():
    lines = "\n".join(f"    x{place} = run.now(); len(str(x{place}))" for place in range(100))
    scope: dict[str, Any] = {}
    exec(f"async def body(run):\n{lines}\n", scope)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert readings(scope["body"]) == []
        took.append(time.perf_counter() - began)
    assert min(took) < 0.001
