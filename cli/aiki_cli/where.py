"""Own where a command connects: which of the places that may say it counts, and which one that was.

A flag counts before a variable, that before the profile that was chosen, that before the manifest. Where none of these
says an address, an `aiki dev` that lives in the project is found; else the user's default profile says it, as a whole,
and last comes the default. A name that both files have is the project's profile: its team says what it means.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from aiki import ConfigError
from aiki.core.near import did_you_mean
from aiki.core.variables import variable

if TYPE_CHECKING:
    from aiki.manifest import ClientSettings, Manifest, Profile, UserSettings
    from aiki_cli.dev_record import DevRecord

URL: Final = "url"
NAMESPACE: Final = "namespace"
KEY_NAMES: Final = ("creds", "tls_ca", "tls_cert", "tls_key")
"""The files that open NATS, by the name that each has everywhere."""


class Source(StrEnum):
    """What kind of place says a value."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    PROFILE = "profile"
    MANIFEST = "manifest"
    DEV = "dev"
    DEFAULT = "default"


class Said(NamedTuple):
    """A value, and who says it; None is left to the SDK."""

    value: str | None
    source: Source
    origin: str
    """The same in words: `AIKI_URL`, or `profile prod (/shop/aiki.yaml:9:12)`."""


NOBODY: Final = Said(None, Source.DEFAULT, "the default")
DEFAULTS: Final = {
    URL: Said("nats://127.0.0.1:4222", Source.DEFAULT, "the default"),
    NAMESPACE: Said("default", Source.DEFAULT, "the default"),
}
"""What the SDK takes where nobody says anything."""


class Files(NamedTuple):
    """What was found to ask."""

    manifest: Manifest | None = None
    user: UserSettings | None = None
    dev: Callable[[], DevRecord | None] = lambda: None
    """Looks for an `aiki dev` that lives here, which is asked for only where nothing else says an address."""


class Where:
    """Where one command connects. Everything raises ConfigError for a profile that is unknown, or a variable unset."""

    def __init__(self, flags: Mapping[str, str | None], profile: str | None, files: Files) -> None:
        self._flags = flags
        self._named = profile
        self._files = files

    @cached_property
    def url(self) -> Said:
        """The address."""
        if said := self._said(URL, may_be_empty=False):
            return said
        if (dev := self._dev) is not None:
            return Said(dev.url, Source.DEV, f"aiki dev in {dev.folder}")
        return self._of_default(URL) or DEFAULTS[URL]

    @cached_property
    def namespace(self) -> Said:
        """The namespace; of an `aiki dev` that was found it is the one that it serves."""
        if self.url.source is not Source.DEV or (dev := self._dev) is None:
            return self._said(NAMESPACE, may_be_empty=False) or self._of_default(NAMESPACE) or DEFAULTS[NAMESPACE]
        given = self._given(NAMESPACE, may_be_empty=False) or self._of_profile(NAMESPACE)
        return given or Said(dev.namespace, Source.DEV, f"aiki dev in {dev.folder}")

    def key_file(self, name: str) -> Said:
        """Return the file of that name; an empty one says that there is none. An `aiki dev` asks for no keys."""
        if self.url.source is Source.DEV:
            return self._given(name, may_be_empty=True) or Said("", Source.DEV, "aiki dev asks for none")
        return self._said(name, may_be_empty=True) or self._of_default(name) or NOBODY

    @cached_property
    def profile(self) -> Profile | None:
        """The profile that says where, if one does: the one that was chosen, or the user's default one."""
        return self._chosen or (self._default if self.url.source is Source.PROFILE else None)

    @property
    def protected(self) -> bool:
        """Whether what changes something has to be agreed to."""
        return self.profile is not None and self.is_protected(self.profile)

    def is_protected(self, profile: Profile) -> bool:
        """Tell whether the profile is protected: either file may say so of its name."""
        return self.protecting(profile) is not None

    def protecting(self, profile: Profile) -> Profile | None:
        """Return the profile of that name which says that it is protected, if one does."""
        users = self._files.user.profiles.get(profile.name) if self._files.user else None
        return next((one for one in (profile, users) if one is not None and one.protected), None)

    def is_default(self, profile: Profile) -> bool:
        """Tell whether the profile says where without having been chosen."""
        return profile is self._default

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """All profiles by name; those of the project come first."""
        mine = self._files.user.profiles if self._files.user else {}
        ours = self._files.manifest.profiles if self._files.manifest else {}
        return {**ours, **{name: one for name, one in mine.items() if name not in ours}}

    def _said(self, name: str, *, may_be_empty: bool) -> Said | None:
        given = self._given(name, may_be_empty=may_be_empty) or self._of_profile(name)
        if given is not None or self._files.manifest is None:
            return given
        return _expanded(name, self._files.manifest.client, Source.MANIFEST, "")

    def _given(self, name: str, *, may_be_empty: bool) -> Said | None:
        """Return what a flag or a variable says. A variable that is empty says nothing."""
        flag = self._flags.get(name)
        if flag or (flag is not None and may_be_empty):
            return Said(flag, Source.FLAG, f"--{name.replace('_', '-')}")
        if from_environment := variable(os.environ, f"AIKI_{name.upper()}"):
            return Said(from_environment, Source.ENVIRONMENT, f"AIKI_{name.upper()}")
        return None

    def _of_profile(self, name: str) -> Said | None:
        if self._chosen is None:
            return None
        return _expanded(name, self._chosen.client, Source.PROFILE, f"profile {self._chosen.name}")

    def _of_default(self, name: str) -> Said | None:
        """Return what the user's default profile says, if it is where we connect: its keys are for no other server."""
        if self._default is None or (name != URL and self.profile is not self._default):
            return None
        return _expanded(name, self._default.client, Source.PROFILE, f"default profile {self._default.name}")

    @cached_property
    def _dev(self) -> DevRecord | None:
        return self._files.dev()

    @cached_property
    def _chosen(self) -> Profile | None:
        if self._named is None:
            return None
        if self._named in self.profiles:
            return self.profiles[self._named]
        files = [str(one.file) for one in (self._files.manifest, self._files.user) if one is not None]
        if not files:
            raise ConfigError(f"the profile {self._named!r} was asked for, and no file has profiles")
        meant = did_you_mean(self._named, self.profiles, otherwise=f"there are: {', '.join(self.profiles) or 'none'}")
        raise ConfigError(f"{' and '.join(files)}: no profile {self._named!r} ({meant})", hint="aiki config profiles")

    @property
    def _default(self) -> Profile | None:
        """The user's default profile; none where another one was chosen."""
        user = self._files.user if self._named is None else None
        return user.profiles[user.default] if user is not None and user.default is not None else None


def _expanded(name: str, client: ClientSettings, source: Source, of: str) -> Said | None:
    value, place = client.value(name, os.environ), client.place(name)
    if value is None or (name == URL and not value):
        return None
    return Said(value, source, f"{of} ({place})" if of else str(place))
