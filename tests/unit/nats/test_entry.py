"""What we override in nats-py's client is there, and is called."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from nats.aio.client import Client

from aiki.nats.entry import _Entrant, is_refusal

OVERRIDDEN = sorted(name for name in vars(_Entrant) if name in vars(Client) and not name.startswith("__"))


def test_something_is_overridden() -> None:
    assert OVERRIDDEN == ["_flusher", "_ping_interval", "_process_info", "_read_loop", "_select_next_server"]


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_is_overridden_has_the_shape_of_before(name: str) -> None:
    ours, theirs = getattr(_Entrant, name), getattr(Client, name)
    assert inspect.iscoroutinefunction(theirs)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_is_overridden_is_called_on_the_way_in(name: str) -> None:
    way_in = inspect.getsource(Client.connect) + inspect.getsource(Client._process_connect_init)
    assert f"self.{name}(" in way_in


@pytest.mark.parametrize("name", ["_server_info", "_server_pool", "_transport", "is_connected"])
def test_what_is_used_is_there(name: str) -> None:
    assert hasattr(Client(), name)


@pytest.mark.parametrize(
    ("reason", "refused"),
    [
        # From errors.go of nats-server 2.15: what a person must change, and what passes.
        ("Authorization Violation", True),
        ("User Authentication Expired", True),
        ("User Authentication Revoked", True),
        ("Account Authentication Expired", True),
        ("Authentication Timeout", False),
        ("Stale Connection", False),
        ("Slow Consumer", False),
        ("Maximum Connections Exceeded", False),
        ("Maximum Payload Violation", False),
        ("Server Shutdown", False),
    ],
)
def test_a_refusal_of_credentials_is_told_from_what_passes(reason: str, refused: bool) -> None:
    assert is_refusal(reason) is refused


def test_nats_py_is_imported_without_what_nothing_here_uses_and_whoever_wants_it_gets_it() -> None:
    program = """
import sys
import aiki.nats
spared = [name for name in ("nats.js", "importlib.metadata") if name in sys.modules]
import nats, nats.aio.client, importlib.metadata
print(spared, nats.aio.client.__version__ == importlib.metadata.version("nats-py"))
print(nats.NATS().jetstream(), nats.js.api.Header.STATUS.value)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "[] True"
    assert second.startswith("<nats.js.client.JetStreamContext")
    assert second.endswith(" Status")
