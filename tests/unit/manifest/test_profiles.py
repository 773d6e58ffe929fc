"""A user's own settings: read as strictly as a manifest, and expanded only where they are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiki.core.errors import ConfigError
from aiki.manifest import UserSettings, parse_user

FILE = Path("/home/ada/.config/aiki/config.yaml")
FULL = """\
aiki: 1
profile: prod
profiles:
  prod: {client: {url: "${PROD_URL}", namespace: shop, creds: prod.creds}, protected: true}
  test: {client: {url: "nats://test:4222"}}
"""


def read(text: str) -> UserSettings:
    return parse_user(text.encode(), FILE)


def test_full_settings_are_read() -> None:
    user = read(FULL)
    assert user.default == "prod"
    assert [(one.name, one.protected) for one in user.profiles.values()] == [("prod", True), ("test", False)]
    prod = user.profiles["prod"].client
    assert prod.value("url", {"PROD_URL": "nats://prod:4222\n"}) == "nats://prod:4222"
    assert prod.value("creds", {}) == "/home/ada/.config/aiki/prod.creds"
    assert prod.value("tls_ca", {}) is None
    assert str(prod.place("namespace")) == f"{FILE}:4:50"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:1", "the file of settings is empty, and expected `aiki: 1`"),
        ("profiles: {}", "1:1", "has no `aiki`"),
        ("aiki: 2", "1:7", "the format `2`, and expected 1"),
        ("aiki: 1\nmodules: {}", "2:1", "unknown key `modules` in the file of settings, and expected"),
        ("aiki: 1\nprofile: prod", "2:10", "`prod`, and expected a profile of this file: it has none"),
        ("aiki: 1\nprofile: p\nprofiles: {q: {}, r: {}}", "2:10", "expected a profile of this file: q, r"),
        ("aiki: 1\nprofiles: {p: {}, p: {}}", "2:19", "stands on line 2 already"),
        ("aiki: 1\nprofiles: {p: {url: x}}", "2:16", "unknown key `url` in a profile"),
        ("aiki: 1\nprofiles: {'a b': {}}", "2:12", "and expected a name of 1 to 64"),
        ("aiki: 1\nprofiles: {p: {client: {url: '${A'}}}", "2:30", "unfinished reference"),
        ("aiki: 1\nprofiles: &a {}", "2:11", "is an alias or anchor"),
        (f"aiki: 1\n# {'x' * 256 * 1024}", "1:1", "the file of settings is too long"),
    ],
)
def test_wrong_settings_are_refused_with_their_place(text: str, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith(f"{FILE}:{place}: "), caught.value
    assert message in str(caught.value)
