"""Own how to reach Aiki as files say it: a manifest's `client:`, and profiles, a project's or a user's own.

Both files write a profile alike, so that it can move from one to the other. What it says is expanded when it is used:
a profile that nobody chose may name variables that nobody set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiki.core import keyfiles
from aiki.core.variables import trimmed
from aiki.manifest import fields
from aiki.manifest.document import Node, Place, Scalar, read_document
from aiki.manifest.fields import Fields
from aiki.manifest.variables import Template
from aiki.wire.subjects import is_token

FORMAT: Final = 1
NAMES: Final = ("url", "namespace", *keyfiles.NAMES)
"""What `client:` may say."""


@dataclass(frozen=True)
class ClientSettings:
    """How to reach Aiki, by the names of NAMES; not expanded yet. Files are relative to `folder`."""

    folder: Path = Path()
    said: Mapping[str, Template] = field(default_factory=dict)

    def place(self, name: str) -> Place | None:
        """Return where the value of that name stands; None if nothing is said of it."""
        return self.said[name].place if name in self.said else None

    def value(self, name: str, environment: Mapping[str, str]) -> str | None:
        """Return the value of that name, expanded; None if nothing is said of it. A file that is none is empty.

        Raises ConfigError if a variable is not set, the namespace is none, or keys stand where their file should.
        """
        if name not in self.said:
            return None
        value = trimmed(self.said[name].expand(environment))
        if name == "namespace" and not is_token(value):
            what = f"the namespace {value!r}, and expected a name of 1 to 64 of A-Z a-z 0-9 _ -"
            self.said[name].place.refuse(what)
        if name in keyfiles.NAMES and value:
            return str(self.folder / keyfiles.key_file(name, value))
        return value


@dataclass(frozen=True)
class Profile:
    """Where a name leads."""

    name: str
    place: Place
    client: ClientSettings = field(default_factory=ClientSettings)
    protected: bool = False
    """Whether commands that change something ask before."""


@dataclass(frozen=True)
class UserSettings:
    """What a user has set for themselves, whatever the project is."""

    file: Path
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    default: str | None = None
    """The profile where nothing else says an address."""


def parse_user(raw: bytes, file: Path) -> UserSettings:
    """Return the settings in `raw`, the content of a user's own `file`.

    Raises ConfigError with `file:line:column: what, and what was expected`.
    """
    document = read_document(raw, file, what="the file of settings")
    top = Fields(document, "aiki", "profile", "profiles", what="the file of settings")
    top.required("aiki", check_format)
    profiles = top.optional("profiles", profile_table(file)) or {}

    def known(node: Node) -> str:
        name = fields.token(node)
        if name not in profiles:
            node.place.refuse(f"{node}, and expected a profile of this file: {', '.join(profiles) or 'it has none'}")
        return name

    return UserSettings(file, profiles, top.optional("profile", known))


def check_format(node: Node) -> None:
    """Refuse another format than ours."""
    if not isinstance(node, Scalar) or node.quoted or node.text != str(FORMAT):
        node.place.refuse(f"the format {node}, and expected {FORMAT}, the only one that this release knows")


def client_settings(file: Path) -> fields.Check[ClientSettings]:
    """Return a check for what `client:` says in `file`."""

    def check(node: Node) -> ClientSettings:
        client = Fields(node, *NAMES, what="`client`")
        given = {name: client.optional(name, fields.template) for name in NAMES}
        return ClientSettings(file.parent, {name: one for name, one in given.items() if one is not None})

    return check


def profile_table(file: Path) -> fields.Check[dict[str, Profile]]:
    """Return a check for the profiles of `file`, by their names."""

    def profile(node: Node) -> Profile:
        one = Fields(node, "client", "protected", what="a profile")
        client = one.optional("client", client_settings(file)) or ClientSettings()
        return Profile("", node.place, client, one.optional("protected", fields.boolean) or False)

    def check(node: Node) -> dict[str, Profile]:
        found = fields.table(fields.token, profile, of="profiles by name")(node)
        return {name: Profile(name, one.place, one.client, one.protected) for name, one in found.items()}

    return check
