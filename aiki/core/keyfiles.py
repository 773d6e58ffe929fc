"""Own which files open a nats-server beside its address; what they hold is `nats.keyring`'s.

They have one name each wherever they are given: `creds` is a keyword of `Client.connect`, a key of the manifest and of
the daemon's settings, `--creds` and AIKI_CREDS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Final, TypeAlias

from aiki.core.errors import ConfigError
from aiki.core.variables import trimmed, variable

FilePath: TypeAlias = str | PathLike[str]
# PEM and credentials files begin so; a seed, and a JWT.
_KEYS: Final = re.compile(r"-----BEGIN |[\r\n]|^S[A-Z2-7]{57}$|^ey[\w-]+\.[\w-]+\.[\w-]+$")


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where our keys are; none of them where the server asks for nothing."""

    creds: Path | None = None
    """The JWT and the seed of a user, as `nsc` writes them, or a seed alone."""
    tls_ca: Path | None = None
    """The authorities that the server's certificate is trusted by, in place of the system's."""
    tls_cert: Path | None = None
    """Our own certificate, for servers that ask for one."""
    tls_key: Path | None = None
    """Its key, where that is not in the same file."""

    @property
    def insist_on_tls(self) -> bool:
        """Whether a server without TLS is not what was meant: whoever names an authority expects to be guarded."""
        return self.tls_ca is not None or self.tls_cert is not None


NAMES = tuple(field.name for field in fields(KeyFiles))


def variable_of(name: str) -> str:
    """Return the variable that gives the file: AIKI_CREDS for `creds`."""
    return f"AIKI_{name.upper()}"


def key_files(given: Mapping[str, FilePath | None], environment: Mapping[str, str]) -> KeyFiles:
    """Return the files that are given by name, each else by its variable. An empty name says that there is none.

    Raises ConfigError as `key_file` does.
    """
    variables = {name: variable(environment, variable_of(name)) for name in NAMES}
    chosen = {name: variables[name] if given.get(name) is None else given[name] for name in NAMES}
    return KeyFiles(**{name: key_file(name, file) for name, file in chosen.items() if file})


def key_file(name: str, file: FilePath) -> Path:
    """Return the path of the file. Raises ConfigError, and repeats nothing, if it is what such a file should hold."""
    text = trimmed(fspath(file))
    if _KEYS.search(text):
        raise ConfigError(
            f"{name}: it is given the keys themselves, and expected the name of a file that holds them",
            hint=f"write them to a file for yourself alone: umask 077; printenv {variable_of(name)} > {name}.txt",
        )
    path = Path(text)
    with suppress(RuntimeError):  # there is no such home: as it stands it will not be found
        path = path.expanduser()
    return path
