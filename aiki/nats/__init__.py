"""Own our connection to NATS: one, hardened once, on both ends of the wire.

Clients, workers and the daemon meet the same server and the same neighbours, so they share what stands between.
"""

from aiki.nats.connection import Connection, Message, Subscription
from aiki.nats.errors import Away, NatsError, NoReply, NoResponders, TooLarge

__all__ = ["Away", "Connection", "Message", "NatsError", "NoReply", "NoResponders", "Subscription", "TooLarge"]
