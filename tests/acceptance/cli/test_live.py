"""Live views on a terminal, as an emulator reads them."""

from __future__ import annotations

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.acceptance.cli.terminal import Terminal


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


def test_a_run_is_drawn_until_its_end_and_its_page_stays(terminal, aiki, worker, flows):
    gate = flows / "gate"
    run_id = aiki("enqueue", "held", f"gate={gate}").lines[0]
    watch = terminal("status", run_id, "--watch")
    watch.shows("● running  held 1")
    watch.type("\n\n")
    gate.touch()
    assert watch.ends() == 0
    assert watch.lines[0].startswith("✓ completed  held 1")
    assert "running" not in watch.text
