"""`aiki config`: where commands connect and who says so, and the profiles that there are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aiki.core.variables import variable
from aiki_cli import options
from aiki_cli.session import Session
from aiki_cli.where import KEY_NAMES, Said

if TYPE_CHECKING:
    from aiki.manifest import Profile
    from aiki_cli.view.documents.config import ConfigProfile, ConfigValue
    from aiki_cli.view.found import Rows
    from aiki_cli.where import Where


@options.command
def show(
    session: Session,
    origin: Annotated[bool, typer.Option("--origin", help="Show who says each value.")] = False,
) -> Rows:
    """Show where commands connect, and how. Secrets are hidden; no server is asked.

    TSV columns: name, value, and with --origin who says it.
    """
    from aiki_cli.view import config

    return config.rows(_values(session), origins=origin)


@options.command
def profiles(session: Session) -> Rows:
    """List the profiles, of the project and your own. What says where commands connect now is marked.

    TSV columns: name, url (as it is written), namespace, protected, is_used, file, line.
    """
    from aiki_cli.view import config

    where = session.where
    return config.profiles([_profile(where, one) for one in where.profiles.values()])


def _values(session: Session) -> list[ConfigValue]:
    from aiki.core.addresses import shown

    where = session.where
    url = where.url
    manifest, user = session.manifest, session.user
    return [
        _of("url", Said(url.value and shown(url.value), url.source, url.origin)),
        _of("namespace", where.namespace),
        _profile_name(session),
        _protected(where),
        *(_of(name, where.key_file(name)) for name in KEY_NAMES),
        _chosen("start_timeout", session.common.start_timeout, session.start_timeout),
        _chosen("output", session.common.output, variable(os.environ, "AIKI_OUTPUT"), otherwise=session.out.mode),
        _file("manifest", manifest and manifest.file, session.common.file, "the working directory, or above it"),
        _file("user_config", user and user.file, None, "the user's own folder"),
    ]


def _made(name: str, value: str | bool | None, source: _Source, origin: str) -> ConfigValue:
    from aiki_cli.view.documents.config import ConfigValue

    return ConfigValue(name=name, value=value, source=source, origin=origin)


_Source = Literal["flag", "environment", "profile", "manifest", "dev", "found", "default"]


def _of(name: str, said: Said) -> ConfigValue:
    return _made(name, said.value or None, said.source.value, said.origin)


def _profile_name(session: Session) -> ConfigValue:
    profile, user = session.where.profile, session.user
    if profile is not None and session.where.is_default(profile) and user is not None:
        return _made("profile", profile.name, "profile", f"the default of {user.file}")
    return _chosen("profile", session.common.profile, None if profile is None else profile.name)


def _protected(where: Where) -> ConfigValue:
    if where.profile is None:
        return _made("protected", value=False, source="default", origin="no profile says where")
    says = where.protecting(where.profile) or where.profile
    return _made("protected", where.protected, "profile", f"profile {says.name} ({says.place})")


def _chosen(name: str, flag: object, value: str | None, *, otherwise: str | None = None) -> ConfigValue:
    """Return what a flag says, else a variable, else what comes `otherwise`."""
    if flag:
        return _made(name, str(flag), "flag", f"--{name.replace('_', '-')}")
    if value:
        return _made(name, value, "environment", f"AIKI_{name.upper()}")
    return _made(name, otherwise, "default", "the default")


def _file(name: str, file: object, flag: object, folder: str) -> ConfigValue:
    """Return which file was read, and how it was found: it was named, or lay in a `folder`."""
    if file is None:
        return _made(name, None, "default", "none was found")
    if flag:
        return _made(name, str(file), "flag", "-f")
    if variable(os.environ, f"AIKI_{name.upper()}"):
        return _made(name, str(file), "environment", f"AIKI_{name.upper()}")
    return _made(name, str(file), "found", folder)


def _profile(where: Where, profile: Profile) -> ConfigProfile:
    from aiki.core.addresses import shown
    from aiki_cli.view.documents.config import ConfigProfile

    written = {name: template.text for name, template in profile.client.said.items()}
    url = written.get("url")
    return ConfigProfile(
        name=profile.name,
        url=url and shown(url),
        namespace=written.get("namespace"),
        protected=where.is_protected(profile),
        is_used=where.profile is profile,
        file=str(profile.place.file),
        line=profile.place.line,
    )
