"""Own our connection to NATS: one, hardened once, on both ends of the wire.

Clients, workers and the daemon meet the same servers and the same neighbours there, so they share what stands between.
It speaks the protocol itself, the small part that we need. nats-py's client was tried first: its reading loop ends for
good at a subject, a reply subject or a status that is not UTF-8, at a header block without a first line, and at the
answer to a ping that was given up; it closes for good when credentials are refused, forgets subscriptions that
permissions took, and each message costs it a task's turn. None of that can be mended from outside of it.
"""

from aiki.nats.connection import Connection, Subscription
from aiki.nats.errors import Away, NatsError, NoReply, NoResponders, Refused, TooLarge
from aiki.nats.frames import Message

__all__ = [
    "Away",
    "Connection",
    "Message",
    "NatsError",
    "NoReply",
    "NoResponders",
    "Refused",
    "Subscription",
    "TooLarge",
]
