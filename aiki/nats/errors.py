"""Own what can go wrong between us and NATS; `transport` and `bus` turn it into errors that callers know."""

from __future__ import annotations

from aiki.core.errors import ConfigError


class NatsError(Exception):
    """The root of what a connection raises."""


class Away(NatsError):
    """No server of the cluster can be reached now. Whether what was sent before arrived is unknown."""


class Refused(NatsError):
    """A server does not take our credentials, or does not permit what we ask of it: a person has to change that."""


class Untrusted(Refused):
    """We do not take the server: no authority that we trust has signed its certificate, or it is another's."""


class KeysUnusable(Refused):
    """A file of keys cannot be read or used; nothing was sent. `error` says so to callers."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(error)
        self.error = error


class NoResponders(NatsError):
    """Nobody listens on the request's subject."""


class NoReply(NatsError):
    """No reply came in time: whether the request was carried out is unknown."""


class OnlyStored(NoReply):
    """No reply came in time, but a stream of JetStream acknowledged that it has stored the request."""


class TooLarge(NatsError):
    """The message is larger than the server takes (`Connection.max_payload`); it was not sent."""
