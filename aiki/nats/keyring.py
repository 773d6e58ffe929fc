"""Own what our key files hold: a user's JWT and seed, the authorities that we trust, our own certificate.

They are read anew for each connection, since who rotates keys writes fresh ones into the same files. White space, line
ends and byte order marks are as the systems that they came through left them. Nothing of a key is ever repeated.
"""

from __future__ import annotations

import codecs
import os
import ssl
import stat
from base64 import b64encode, urlsafe_b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from aiki.core.errors import ConfigError, FileUnreadable
from aiki.core.keyfiles import KeyFiles

FILE_BYTES: Final = 4 * 1024 * 1024
"""All authorities of a system are a quarter of that."""
# github.com/nats-io/nkeys: a user's seed in base32; github.com/nats-io/jwt: three parts in base64.
_SEED: Final = "SU"
_SEED_LENGTH: Final = 58
_JWT_PARTS: Final = 3
_of_pipes: Final[dict[Path, bytes]] = {}
"""What can be read but once: in shells, `--creds <(command)`."""
_DER: Final = b"\x30"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to the server, and what proves it. Without a JWT the server knows the user by the key."""

    file: Path
    jwt: str = field(repr=False)
    seed: str = field(repr=False)

    def sign(self, nonce: str) -> bytes:
        """Return the proof that we hold the seed, in base64."""
        import nkeys

        signed: bytes = nkeys.from_seed(self.seed.encode()).sign(nonce.encode())
        return b64encode(signed)

    def expired(self, now: datetime) -> str:
        """Return words for when the JWT has expired by our clock; empty if it has not, or does not say."""
        try:
            claims = msgspec.json.decode(_base64(self.jwt.split(".")[1]), type=_Claims)
            until = datetime.fromtimestamp(claims.exp, UTC)
        except (IndexError, NotBase64, msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError, OSError):
            return ""  # the server alone judges what it says
        return (
            f"what {self.file} holds expired at {until:%Y-%m-%d %H:%M:%S} UTC"
            if 0 < claims.exp <= now.timestamp()
            else ""
        )


class _Claims(msgspec.Struct):
    exp: int = 0


def login(files: KeyFiles) -> Login | None:
    """Return what the credentials file holds, None without one. Raises ConfigError, FileUnreadable if nobody can."""
    if files.creds is None:
        return None
    words = _text(_read(files.creds, "creds")).split()
    seed = next((word for word in words if word.startswith(_SEED) and len(word) == _SEED_LENGTH), "")
    jwt = next((word for word in words if word.startswith("ey") and word.count(".") == _JWT_PARTS - 1), "")
    if not _is_seed(seed):
        raise ConfigError(
            f"creds: {files.creds} holds no user's seed, and expected a credentials file as nsc writes it",
            hint="nsc generate creds --name USER > user.creds",
        )
    return Login(files.creds, jwt, seed)


def tls_context(files: KeyFiles) -> ssl.SSLContext | None:
    """Return whom we trust and who we are, None without files: then it is the system's authorities, and nobody.

    Raises ConfigError, FileUnreadable if a file cannot be read.
    """
    if files.tls_ca is None and files.tls_cert is None and files.tls_key is None:
        return None  # to load the system's takes long, and most servers need none
    context = _trusting(files.tls_ca) if files.tls_ca else ssl.create_default_context()
    if files.tls_cert is not None:
        for name, file in (("tls_cert", files.tls_cert), ("tls_key", files.tls_key)):
            if file is not None:
                _read(file, name)
        try:
            context.load_cert_chain(files.tls_cert, files.tls_key, password=_refuse_encrypted)
        except ssl.SSLError as error:
            raise ConfigError(
                f"tls_cert: {files.tls_cert} and {files.tls_key or 'it alone'} are no certificate with its key"
                f" ({error.reason or 'no PEM'}), and expected both in PEM"
            ) from error
    elif files.tls_key is not None:
        raise ConfigError(f"tls_key: {files.tls_key} is the key of no certificate, and expected tls_cert beside it")
    return context


def _trusting(file: Path) -> ssl.SSLContext:
    raw = _read(file, "tls_ca")
    # Comments between certificates may be in any language.
    authorities = raw if raw.startswith(_DER) else _text(raw).encode("ascii", "ignore").decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it trusts nobody yet, not even the system's
    try:
        context.load_verify_locations(cadata=authorities or "none")
    except ssl.SSLError as error:
        raise ConfigError(f"tls_ca: {file} holds no certificate, and expected one or more in PEM") from error
    # As NATS's own tools: what was named is trusted, be it the root of all or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _read(file: Path, name: str) -> bytes:
    if file in _of_pipes:
        return _of_pipes[file]
    try:
        with file.open("rb") as stream:
            raw = stream.read(FILE_BYTES)
            if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
                _of_pipes[file] = raw
            return raw
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no path"
        raise FileUnreadable(f"{name}: cannot read {file}: {reason}") from error


def _text(raw: bytes) -> str:
    # Redirected by PowerShell, text is UTF-16.
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _is_seed(seed: str) -> bool:
    import nkeys

    try:
        kind, raw = nkeys.decode_seed(seed.encode())
        # Encoded anew it has the right checksum, which nobody looks at else: a slip of the pen shows.
        return bool(kind == nkeys.PREFIX_BYTE_USER and nkeys.encode_seed(raw, kind) == seed.encode())
    except (nkeys.NkeysError, NotBase64, ValueError):
        return False


def _base64(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _refuse_encrypted() -> NoReturn:
    raise ConfigError("tls_key: the key is encrypted, and expected one without a passphrase")
