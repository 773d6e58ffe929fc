"""What we override in nats-py's client is there, and is called."""

from __future__ import annotations

import inspect

import pytest
from nats.aio.client import Client

from aiki.nats.entry import _Entrant

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


@pytest.mark.parametrize("name", ["_connect_to_server", "_server_info", "_server_pool", "_transport", "is_connected"])
def test_what_is_used_is_there(name: str) -> None:
    assert hasattr(Client(), name)
