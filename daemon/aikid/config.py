"""Own the daemon's settings: where each comes from, what it may be, and the words that refuse anything else.

Flags win over `AIKI_*` variables, those over the TOML file of `--config` or AIKI_CONFIG, that over the defaults. The
file's keys are the names below: `pool_size = 6` there is AIKI_POOL_SIZE=6 or `--pool-size 6`. It is TOML because
its one mistake-prone value, a URL, then needs quotes, and because Python reads it without a further dependency.

A password is taken from a variable, from the file that AIKI_DATABASE_URL_FILE names, or from the TOML file; never
from a flag, because every user of the machine can read those.
"""

from __future__ import annotations

import difflib
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiki.core.addresses import holds_secret
from aiki.core.encoding import NotUtf8, decode
from aiki.core.errors import ConfigError
from aiki.core.keyfiles import NAMES as KEY_NAMES
from aiki.core.keyfiles import KeyFiles
from aiki.core.retention import NOTHING, Periods
from aiki.core.variables import trimmed, variable
from aikid.values import boolean, choice, database_url, folder, integer, key_file, nats_url, periods, seconds

PREFIX: Final = "AIKI_"
DEFAULT_NATS_PORT: Final = 4222
_NEAR_MISS: Final = 0.9
"""How alike an unknown AIKI_* variable must be to one of ours to be taken for a slip of the pen."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one aikid runs with."""

    database_url: str = field(repr=False)
    """Empty with `embedded`, until its Postgres has been started."""
    nats_url: str = field(repr=False)
    """One address, or several with commas between them."""
    creds: Path | None = None
    """With the other three: the files that open NATS, as `core.keyfiles` tells; they are read at each reconnect."""
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    pool_size: int = 6
    """Connections for hot statements; a few more serve lists and status reads."""
    embedded: bool = False
    data_dir: Path = Path(".aiki")
    nats_port: int = DEFAULT_NATS_PORT
    migrate: bool = True
    """Whether to bring the schema up to date at start; if not, an older one is refused."""
    start_timeout_seconds: float = 30.0
    """How long to wait at start for Postgres and NATS to answer, and how long NATS may refuse us at any time."""
    stop_timeout_seconds: float = 10.0
    """How long a graceful stop may take."""
    retention: Periods = NOTHING
    """How long ended runs are kept of which neither a manifest nor their code says it."""
    key_retention_seconds: float = 30 * 86_400.0
    """How long idempotency keys are held of runs that were deleted."""
    log_level: str = "info"
    log_format: str = "auto"

    @property
    def keys(self) -> KeyFiles:
        """The files that open NATS."""
        return KeyFiles(self.creds, self.tls_ca, self.tls_cert, self.tls_key)


@dataclass(frozen=True)
class Loaded:
    """Settings, and for each of their names where its value comes from (for `aikid check`)."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """One setting as users meet it. `parse` takes text or a TOML value and raises ValueError with what it expects."""

    name: str
    parse: Callable[[object], Any]
    about: str
    metavar: str | None = None
    secret: bool = False
    field: str = ""
    """The name in Settings, where that has a unit."""

    @property
    def flag(self) -> str:
        """The command line's spelling."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment's spelling."""
        return PREFIX + self.name.upper()


OPTIONS: Final[tuple[Option, ...]] = (
    Option("database_url", database_url, "Postgres; with a password only by AIKI_DATABASE_URL or file", "URL", True),
    Option("nats_url", nats_url, "NATS (default nats://127.0.0.1:4222)", "URL", True),
    Option("creds", key_file("creds"), "credentials file for NATS: the JWT and the seed of a user", "FILE"),
    Option("tls_ca", key_file("tls_ca"), "who signs NATS's certificate (default: whom the system trusts)", "FILE"),
    Option("tls_cert", key_file("tls_cert"), "our own certificate, where NATS asks for one", "FILE"),
    Option("tls_key", key_file("tls_key"), "its key", "FILE"),
    Option("pool_size", integer(1, 100), "connections to Postgres for hot statements (default 6)", "N"),
    Option("embedded", boolean, "run a Postgres and a nats-server of our own, on data that survives restarts"),
    Option("data_dir", folder, "where --embedded keeps its data (default .aiki)", "DIR"),
    Option("nats_port", integer(0, 65535), "port of the embedded nats-server (default 4222; 0: any)", "PORT"),
    Option("migrate", boolean, "bring the schema up to date at start (default true; else an older one is refused)"),
    Option(
        "start_timeout",
        seconds(0, 3600),
        "how long to wait at start for Postgres and NATS, and at any time for a NATS that refuses us (default 30s)",
        "TIME",
        field="start_timeout_seconds",
    ),
    Option(
        "stop_timeout",
        seconds(0, 3600),
        "how long a graceful stop may take (default 10s)",
        "TIME",
        field="stop_timeout_seconds",
    ),
    Option(
        "retention",
        periods,
        "how long ended runs are kept where neither aiki.yaml nor their code says it: 30d, or completed=30d,failed=90d"
        " (default: for ever)",
        "PERIODS",
    ),
    Option(
        "key_retention",
        seconds(0, 36_500 * 86_400),
        "how long the idempotency key of a run is held that was deleted (default 30d; 0s: as long as the run)",
        "TIME",
        field="key_retention_seconds",
    ),
    Option("log_level", choice("debug", "info", "warning", "error"), "default info", "LEVEL"),
    Option("log_format", choice("auto", "text", "json"), "default auto: text on a terminal, else JSON", "FORMAT"),
)
_BY_NAME: Final = {option.name: option for option in OPTIONS}


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """Return the settings from `flags` (by option name, and `config`), `environ` and the file that they name.

    Raises ConfigError that names the flag, variable or file, and what was expected.
    """
    _refuse_slips(environ)
    config = flags.get("config") or environ.get(f"{PREFIX}CONFIG")
    file = _read_file(Path(str(config))) if config else {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for option in OPTIONS:
        found = _find(option, flags, environ, file, str(config))
        if found is not None:
            origins[option.name], raw = found
            values[option.field or option.name] = _parse(option, raw, origins[option.name])
    return Loaded(_complete(values, origins), origins, _warnings(values, origins))


def _find(
    option: Option, flags: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object], config: str
) -> tuple[str, object] | None:
    """Return where the option's value comes from, and the value; None if nobody gives one."""
    by_flag = flags.get(option.name)
    if by_flag is not None:
        if option.secret and holds_secret(str(by_flag)):
            raise ConfigError(
                f"{option.flag} holds a password, which every user of this machine could read",
                hint=f"set {option.variable}, or {option.variable}_FILE to a file that holds the URL",
            )
        return option.flag, by_flag
    if by_variable := variable(environ, option.variable):
        return option.variable, by_variable
    by_file = environ.get(f"{option.variable}_FILE") if option.secret else None
    if by_file:
        return f"{option.variable}_FILE ({by_file})", trimmed(_read(Path(by_file), f"{option.variable}_FILE"))
    if option.name in file:
        return f"{config}: {option.name}", file[option.name]
    return None


def _parse(option: Option, raw: object, origin: str) -> Any:
    try:
        return option.parse(raw)
    except ValueError as error:
        got = "" if option.secret else f", got {raw!r}"
        raise ConfigError(f"{origin}: expected {error}{got}") from error


def _complete(values: dict[str, Any], origins: Mapping[str, str]) -> Settings:
    if values.get("embedded"):
        for name in ("database_url", "nats_url", *KEY_NAMES):
            if name in values:
                raise ConfigError(
                    f"{origins[name]} is for a server elsewhere, and {origins['embedded']} asks for one of our own",
                    hint=f"drop one of the two: unset {_BY_NAME[name].variable}, or run without --embedded",
                )
        return Settings(**values, database_url="", nats_url="")
    if "database_url" not in values:
        raise ConfigError(
            "no database is configured: AIKI_DATABASE_URL is not set",
            hint="aikid --embedded   (or AIKI_DATABASE_URL=postgresql://aiki@127.0.0.1/aiki aikid)",
        )
    values.setdefault("nats_url", f"nats://127.0.0.1:{DEFAULT_NATS_PORT}")
    return Settings(**values)


def _read_file(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(_read(path, "the configuration file"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    for name in table:
        if name not in _BY_NAME:
            near = difflib.get_close_matches(name, _BY_NAME, 1)
            known = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(_BY_NAME)}"
            raise ConfigError(f"{path}: unknown key {name!r}: {known}")
    return table


def _read(path: Path, what: str) -> str:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror}") from error
    except NotUtf8 as error:
        raise ConfigError(f"cannot read {what} {path}, line {error.line}: {error.reason}") from error


def _refuse_slips(environ: Mapping[str, str]) -> None:
    """Refuse variables that are almost ours. Others that begin with AIKI_ belong to the client and to workers."""
    known = {f"{PREFIX}CONFIG", *(option.variable for option in OPTIONS)}
    known |= {f"{option.variable}_FILE" for option in OPTIONS if option.secret}
    for name in environ:
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=_NEAR_MISS)
            if near:
                raise ConfigError(f"{name}: unknown variable: did you mean {near[0]}?")


def _warnings(values: Mapping[str, Any], origins: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is allowed but unwise: a password in a file that others may read."""
    found = []
    for option in OPTIONS:
        path = re.search(r"_FILE \((.*)\)$|^(.*): \w+$", origins.get(option.name, ""))
        if option.secret and path and holds_secret(values[option.name]):
            file = Path(path[1] or path[2])
            if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
                found.append(f"{file} holds a password and can be read by other users: chmod 600 {file}")
    return tuple(found)


def sources_note() -> str:
    """Return the lines of `--help` that say how settings are found."""
    return (
        "Each option can also be set by a variable (--pool-size 6 is AIKI_POOL_SIZE=6) or in a TOML file\n"
        f"(pool_size = 6) named by --config or {PREFIX}CONFIG. Flags win, then variables, then the file.\n"
        f"Passwords: AIKI_DATABASE_URL, or AIKI_DATABASE_URL_FILE with the name of a file that holds it."
    )
