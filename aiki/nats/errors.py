"""Own what can go wrong between us and NATS; `transport` and `bus` turn it into errors that callers know."""

from __future__ import annotations


class NatsError(Exception):
    """The root of what a connection raises."""


class Away(NatsError):
    """No server of the cluster can be reached now. Whether what was sent before arrived is unknown."""


class Refused(NatsError):
    """A server does not take our credentials, or does not permit what we ask of it: a person has to change that."""


class NoResponders(NatsError):
    """Nobody listens on the request's subject."""


class NoReply(NatsError):
    """No reply came in time: whether the request was carried out is unknown."""


class TooLarge(NatsError):
    """The message is larger than the server takes (`Connection.max_payload`); it was not sent."""
