"""Own our connection to NATS: one, hardened once, on both ends of the wire.

Clients, workers and the daemon meet the same servers and the same neighbours there, so they share what stands between.
nats-py opens the door of a server (`entry`); what comes through it anybody may have written, so it is read here
(`frames`), and what is lost is opened again and subscribed to again (`connection`).
"""

from aiki.nats.connection import Connection
from aiki.nats.errors import (
    Away,
    KeysUnusable,
    NatsError,
    NoReply,
    NoResponders,
    OnlyStored,
    Refused,
    TooLarge,
    Untrusted,
)
from aiki.nats.frames import Message
from aiki.nats.subscriptions import Subscription

__all__ = [
    "Away",
    "Connection",
    "KeysUnusable",
    "Message",
    "NatsError",
    "NoReply",
    "NoResponders",
    "OnlyStored",
    "Refused",
    "Subscription",
    "TooLarge",
    "Untrusted",
]
