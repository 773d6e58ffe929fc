"""The fingerprint of a workflow: the same for the same code, another for any change of it."""

import linecache
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from aiki.definitions.fingerprints import fingerprint, python_of

SOURCE = '''
import functools
import logging
import random
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from aiki import Event, EventTimeout, Retry, WorkflowRun, task, workflow

LIMIT = 3
SKIPPED = frozenset({"x", "y", "z"})
approved = Event("approved", type=str)


class Kind(Enum):
    BIG = "big"
    SMALL = "small"


class Price:
    """What it costs."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def with_tax(self, *, percent: int = 19) -> int:
        return self.cents + self.cents * percent // 100


def traced(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        logging.debug("called")
        return fn(*args)

    return wrapper


@traced
def total(cents: int) -> int:
    """Return all of it."""
    price = Price(cents)
    if price.cents > 100: return price.with_tax()
    return add(price.cents, 1)


def add(a, b=0):
    return a + b


double = functools.partial(add, 5)
unused = lambda: 5


@task(name="charge-card")
async def charge(cents: int) -> int:
    return cents


@task
def ship(name: str) -> bool:
    return True


@workflow(name="order", version="1")
async def order(run: WorkflowRun, cents: int, names: list[str]) -> int:
    """Process it."""
    # The card first.
    amount = total(cents)
    paid = await charge.run(run, amount)
    try:
        await run.wait_for(approved, timeout="14d")
    except EventTimeout:
        return 0
    while True:
        paid = paid + double(1)
        if paid > LIMIT and (cents != 7 or
                             paid > 9):
            break
    sizes = [Kind.BIG if len(name) > 3 else Kind.SMALL for name in names if name not in {"a", "b"}]
    for name in sorted(names, key=lambda one: one.lower()):
        if name in SKIPPED:
            pass
        else:
            await ship.run(run, name)
    await run.sleep("10m")
    return paid
'''

Change = tuple[str, str]
CHANGES: dict[str, Change] = {
    "a constant of the body": ('"14d"', '"15d"'),
    "the number of another type": ("cents != 7", "cents != 7.0"),
    "a set of constants": ('{"a", "b"}', '{"a", "c"}'),
    "a comparison": ("if paid > LIMIT", "if paid >= LIMIT"),
    "a call removed": ('    await run.sleep("10m")\n', ""),
    "a call added": ("    return paid\n", "    await ship.run(run, 'b')\n    return paid\n"),
    "two calls in the other order": (
        "    amount = total(cents)\n    paid = await charge.run(run, amount)\n",
        "    paid = await charge.run(run, cents)\n    amount = total(paid)\n",
    ),
    "another task called": ("await ship.run(run, name)", "await charge.run(run, 1)"),
    "a branch turned": ("not in {", "in {"),
    "what is caught": ("except EventTimeout", "except TimeoutError"),
    "a lambda": ("one.lower()", "one.upper()"),
    "a value of the module": ("LIMIT = 3", "LIMIT = 4"),
    "a frozenset of the module": ('"x", "y", "z"', '"x", "y"'),
    "a function that it calls": ("    return a + b", "    return a - b"),
    "the default of a function that it calls": ("def add(a, b=0)", "def add(a, b=2)"),
    "the keyword default of a method": ("percent: int = 19", "percent: int = 7"),
    "a method of a class of the module": ("percent // 100", "percent // 10"),
    "the decorator of a function that it calls": ('logging.debug("called")', 'logging.info("called")'),
    "a decorator less": ("@traced\ndef total", "def total"),
    "the argument of a partial": ("partial(add, 5)", "partial(add, 6)"),
    "a member of an enum": ('BIG = "big"', 'BIG = "large"'),
    "a parameter more": ("names: list[str]", "names: list[str], express: bool = False"),
    "a task's name": ('name="charge-card"', 'name="charge"'),
    "an event's name": ('Event("approved"', 'Event("allowed"'),
    "an await in a try": (
        "    except EventTimeout:\n        return 0",
        "    except EventTimeout:\n        return 0\n    finally:\n        await run.sleep(1)",
    ),
    "a loop that ends elsewhere": ("            break", "            continue"),
    "an attribute": ("price.cents > 100", "price.percent > 100"),
}
SAME: dict[str, Change] = {
    "a comment": ("# The card first.", "# First of all the card.\n    # It is charged once."),
    "no comment": ("    # The card first.\n", ""),
    "another docstring": ('"""Process it."""', '"""Process an order, whatever it is."""'),
    "no docstring": ('    """Process it."""\n', ""),
    "no docstring of a function that it calls": ('    """Return all of it."""\n', ""),
    "no docstring of a class": ('    """What it costs."""\n\n', ""),
    "a line broken": ("await charge.run(run, amount)", "await charge.run(\n        run,\n        amount,\n    )"),
    "lines joined": (": return price.with_tax()", ":\n        return price.with_tax()"),
    "empty lines": ("\n    while True:\n", "\n\n\n    while True:\n\n"),
    "a pass": ("    return paid\n", "    pass\n    return paid\n"),
    "brackets": ("paid + double(1)", "(paid + (double(1)))"),
    "a local variable's name": ("amount", "sum_of_all"),
    "quotes": ('"10m"', "'10m'"),
    "the order of a set's members": ('{"a", "b"}', '{"b", "a"}'),
    "the order of functions": ("\n\ndef add(a, b=0):\n    return a + b\n", ""),
    "a function that it does not call": ("unused = lambda: 5", "unused = lambda: 6"),
    "what a task does": (
        "async def charge(cents: int) -> int:\n    return cents",
        "async def charge(cents: int) -> int:\n    return 5",
    ),
    "a task's options": ('@task(name="charge-card")', '@task(name="charge-card", retry=Retry.none())'),
    "how a constant is written": ("LIMIT = 3", "LIMIT = 2 + 1"),
    "annotations of a function that it calls": ("def add(a, b=0):", "def add(a: int, b: int = 0) -> int:"),
    "a condition of two lines in one": (
        "cents != 7 or\n                             paid > 9",
        "cents != 7 or paid > 9",
    ),
    "an import that it does not use": ("import random", "import secrets"),
}


def taken(source: str, name: str = "flows") -> str:
    module = ModuleType(name)
    exec(compile(source, f"/app/{name}.py", "exec", dont_inherit=True), vars(module))
    return fingerprint(module.order)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_code_has_another_fingerprint(change: Change):
    before, after = change
    assert before in SOURCE
    assert taken(SOURCE.replace(before, after)) != taken(SOURCE)


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_code_that_says_the_same_has_the_same_fingerprint(change: Change):
    before, after = change
    assert before in SOURCE
    changed = SOURCE.replace(before, after)
    if "def add" not in changed:
        changed = changed.replace("def traced", "def add(a, b=0):\n    return a + b\n\n\ndef traced")
    assert taken(changed) == taken(SOURCE)


@pytest.mark.parametrize("file", ["flows", "other.flows"])
def test_where_a_module_stands_says_nothing(file: str):
    module = ModuleType("flows")
    exec(compile(SOURCE, f"/srv/{file}", "exec", dont_inherit=True), vars(module))
    assert fingerprint(module.order) == taken(SOURCE)


@pytest.mark.parametrize("options", [["-c"], ["-O", "-c"], ["-OO", "-c"], ["-X", "no_debug_ranges", "-c"]])
@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_it_is_the_same_in_every_process(tmp_path: Path, options: list[str], seed: str):
    (tmp_path / "flows.py").write_text(SOURCE)
    program = "from aiki.definitions.fingerprints import fingerprint; import flows; print(fingerprint(flows.order))"
    for _ in ("compiled here", "read from its .pyc"):
        said = subprocess.check_output(
            [sys.executable, *options, program],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join([str(tmp_path), *sys.path])},
            text=True,
        )
        assert said.strip() == taken(SOURCE)


def test_it_says_which_python_took_it():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert python_of(taken(SOURCE)) == version


def odd(body: str, before: str = "") -> str:
    head = "import functools\nfrom aiki import WorkflowRun, workflow\n"
    return f"{head}{before}\n@workflow(name='order')\nasync def order(run: WorkflowRun) -> None:\n    {body}\n"


ODD = {
    "a function that calls itself": odd("f(1)", "def f(n):\n    return n and f(n - 1)"),
    "functions that call each other": odd("f(1)", "def f(n): return g(n)\ndef g(n): return f(n)"),
    "a function in C": odd("f([])", "f = len"),
    "what was generated": odd("f(1)", "exec('def f(n): return n + 1')"),
    "a cached function": odd("f(1)", "@functools.lru_cache\ndef f(n): return n"),
    "a class that lies of itself": odd("f", "class F:\n    __class__ = property(lambda self: 1 / 0)\nf = F()"),
    "a class that answers everything": odd(
        "f.x", "class F:\n    def __getattr__(self, name): raise RuntimeError(name)\nf = F()"
    ),
    "an empty cell": textwrap.dedent("""
        from aiki import WorkflowRun, workflow
        def make():
            @workflow(name="order")
            async def order(run: WorkflowRun) -> None:
                print(late)
            if 0:
                late = 1
            return order
        order = make()
        """),
    "a tuple within itself": odd("f", "f = ([],)\nf[0].append(f)"),
    "a metaclass": odd(
        "F.x",
        "class M(type):\n    def __eq__(s, o): raise ValueError\n"
        "    __hash__ = type.__hash__\nclass F(metaclass=M): pass",
    ),
    "a text of a lone surrogate": odd("print('\\ud800')"),
}


@pytest.mark.parametrize("source", ODD.values(), ids=ODD)
def test_whatever_a_module_holds_has_a_fingerprint_or_none_and_never_raises(source: str):
    assert taken(source) == taken(source) != ""


def test_code_that_cannot_be_read_has_none():
    unreadable = "class M(type):\n    @property\n    def __module__(cls): raise RuntimeError"
    assert taken(odd("f", f"{unreadable}\nclass F(metaclass=M): pass\nf = F()")) == ""


def test_source_is_not_needed():
    linecache.clearcache()
    assert taken(SOURCE, "flows_without_a_file") != ""


def test_a_long_chain_of_functions_is_read():
    chain = "\n".join(f"def f{n}(): return f{n + 1}()" for n in range(5_000))
    assert taken(odd("f0()", chain)) != ""


CLOSURE = """
from aiki import WorkflowRun, workflow

def made(text, helper):
    @workflow(name="order")
    async def order(run: WorkflowRun) -> None:
        print(text, helper())

    return order

order = made({text!r}, lambda: {number})
"""


def test_a_workflow_made_in_a_function_is_known_by_what_it_closes_over():
    first = taken(CLOSURE.format(text="a", number=1))
    assert taken(CLOSURE.format(text="a", number=1)) == first
    assert first not in {taken(CLOSURE.format(text="b", number=1)), taken(CLOSURE.format(text="a", number=2))}
