"""Own the tests of user code: an engine in memory and a clock that the test moves; no Postgres, no NATS."""

from aiki.testing.env import TestEnv
from aiki.testing.mocks import Mock
from aiki.testing.stillness import StillWaiting

__all__ = ["Mock", "StillWaiting", "TestEnv"]
