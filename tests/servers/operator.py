"""Own an operator of NATS: who signs its accounts and users, as companies do whose credentials expire.

The claims are those of github.com/nats-io/jwt, version 2; the files are those that `nsc` writes.
"""

from __future__ import annotations

import json
import os
import time
from base64 import b32encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final

import nkeys

HOUR_SECONDS: Final = 3600.0
_ANY_NUMBER: Final = -1
_MESSAGES: Final = dict.fromkeys(("subs", "data", "payload"), _ANY_NUMBER)
_ACCOUNT: Final = {
    **_MESSAGES,
    **dict.fromkeys(("imports", "exports", "conn", "leaf"), _ANY_NUMBER),
    "wildcards": True,
}
_JETSTREAM: Final = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), _ANY_NUMBER)


class Operator:
    """An operator with one account for us, and the one that a nats-server wants for itself."""

    def __init__(self) -> None:
        self._key = _new_key(nkeys.PREFIX_BYTE_OPERATOR)
        self._ours = _new_key(nkeys.PREFIX_BYTE_ACCOUNT)
        self._system = _new_key(nkeys.PREFIX_BYTE_ACCOUNT)

    def settings(self) -> dict[str, Any]:
        """Return what a nats-server's configuration says of an operator who alone decides whom it lets in."""
        return {
            "operator": _jwt(self._key, self._key, {"type": "operator"}),
            "system_account": _name(self._system),
            "resolver": "MEMORY",
            "resolver_preload": {
                _name(self._ours): _jwt(self._key, self._ours, {"type": "account", "limits": _ACCOUNT | _JETSTREAM}),
                # Without JetStream, which a server's own account may not have.
                _name(self._system): _jwt(self._key, self._system, {"type": "account", "limits": _ACCOUNT}),
            },
        }

    def credentials(self, *, seconds: float) -> str:
        """Return a credentials file for a new user, who is let in for so long."""
        user = _new_key(nkeys.PREFIX_BYTE_USER)
        jwt = _jwt(self._ours, user, {"type": "user", **_MESSAGES}, seconds=seconds)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )

    def sentinel(self, *, seconds: float) -> dict[str, str]:
        """Return what lets in for so long, by a server's configuration, whoever brings no credentials."""
        bearer = {"type": "user", **_MESSAGES, "bearer_token": True}
        return {"default_sentinel": _jwt(self._ours, _new_key(nkeys.PREFIX_BYTE_USER), bearer, seconds=seconds)}


def _new_key(kind: int) -> nkeys.KeyPair:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), kind))


def _name(key: nkeys.KeyPair) -> str:
    name: str = key.public_key.decode()
    return name


def _jwt(issuer: nkeys.KeyPair, about: nkeys.KeyPair, what: dict[str, Any], *, seconds: float = HOUR_SECONDS) -> str:
    now = time.time()
    claims = {
        "iss": _name(issuer),
        "sub": _name(about),
        "name": "test",
        "iat": int(now),
        "exp": int(now + seconds),
        "nats": {"version": 2, **what},
    }
    claims["jti"] = b32encode(sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
    signed = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(claims)}"
    return f"{signed}.{_base64(issuer.sign(signed.encode()))}"


def _part(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
