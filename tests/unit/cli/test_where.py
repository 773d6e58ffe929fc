"""Which of the places that may say where to connect counts, and that it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiki import ConfigError
from aiki.manifest import parse, parse_user
from aiki.transport import DEFAULT_URL
from aiki_cli.dev_record import DevRecord
from aiki_cli.where import Files, Said, Source, Where

MANIFEST = b"""\
aiki: 1
client: {url: "nats://team", namespace: shop, creds: team.creds}
profiles:
  prod: {client: {url: "nats://prod", namespace: live}}
  both: {client: {url: "nats://both-of-project"}}
"""
USER = b"""\
aiki: 1
profile: mine
profiles:
  mine: {client: {url: "nats://mine", creds: my.creds}, protected: true}
  both: {client: {url: "nats://both-of-user", creds: my.creds}, protected: true}
  open: {client: {url: "nats://${NOWHERE}"}}
"""
DEV = DevRecord(Path("/p"), "nats://127.0.0.1:5555", "dev-space", 1)
manifest, user = parse(MANIFEST, Path("/p/aiki.yaml")), parse_user(USER, Path("/u/config.yaml"))


def where(*, profile: str | None = None, files: Files | None = None, **flags: str) -> Where:
    return Where(flags, profile, Files(manifest, user, lambda: DEV) if files is None else files)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "NAMESPACE", "CREDS", "TLS_CA", "TLS_CERT", "TLS_KEY"):
        monkeypatch.delenv(f"AIKI_{name}", raising=False)


def test_each_place_counts_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    only_dev = Files(None, user, lambda: DEV)
    assert where(files=Files()).url == Said(DEFAULT_URL, Source.DEFAULT, "the default")
    assert where(files=Files(None, user)).url == Said(
        "nats://mine", Source.PROFILE, "default profile mine (/u/config.yaml:4:24)"
    )
    assert where(files=only_dev).url == Said(DEV.url, Source.DEV, "aiki dev in /p")
    assert where().url == Said("nats://team", Source.MANIFEST, "/p/aiki.yaml:2:15")
    assert where(profile="prod").url == Said("nats://prod", Source.PROFILE, "profile prod (/p/aiki.yaml:4:24)")
    monkeypatch.setenv("AIKI_URL", " nats://variable\n")
    assert where(profile="prod").url == Said("nats://variable", Source.ENVIRONMENT, "AIKI_URL")
    assert where(profile="prod", url="nats://flag").url == Said("nats://flag", Source.FLAG, "--url")


def test_each_value_has_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIKI_NAMESPACE", "variable")
    found = where(profile="prod", tls_ca="")
    assert (found.url.value, found.namespace.value) == ("nats://prod", "variable")
    assert found.key_file("creds") == Said("/p/team.creds", Source.MANIFEST, "/p/aiki.yaml:2:54")
    assert found.key_file("tls_ca") == Said("", Source.FLAG, "--tls-ca"), "an empty name says that there is none"
    assert found.key_file("tls_key").value is None


def test_what_opens_a_users_own_server_is_shown_to_no_other() -> None:
    mine = Files(None, user)
    assert where(files=mine).key_file("creds").value == "/u/my.creds"
    assert where(files=mine, url="nats://elsewhere").key_file("creds").value is None
    assert where(files=Files(manifest, user)).key_file("creds").value == "/p/team.creds"
    assert where(files=Files(None, user, lambda: DEV)).key_file("creds").value == ""
    assert where(profile="both").key_file("creds").value == "/p/team.creds"


def test_an_aiki_dev_says_the_namespace_that_it_serves_unless_one_is_chosen() -> None:
    files = Files(parse(b"aiki: 1\nclient: {namespace: shop}", Path("/p/aiki.yaml")), None, lambda: DEV)
    assert where(files=files).namespace.value == "dev-space"
    assert where(files=files, namespace="mine").namespace.value == "mine"
    assert where(files=files, url="nats://elsewhere").namespace.value == "shop"


def test_a_profile_that_both_files_have_is_the_projects_and_protected_by_either() -> None:
    both = where(profile="both")
    assert (both.url.value, both.protected) == ("nats://both-of-project", True)
    assert not where(profile="prod").protected
    assert list(where().profiles) == ["prod", "both", "mine", "open"]


def test_the_default_profile_protects_where_it_says_the_address() -> None:
    assert where(files=Files(None, user)).protected
    assert not where(files=Files(None, user), url="nats://elsewhere").protected
    assert not where().protected
    assert where(profile="mine", url="nats://elsewhere").protected, "it was chosen"


def test_a_profile_that_is_unknown_or_cannot_be_expanded_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"/p/aiki.yaml and /u/config.yaml: no profile 'pord' \(did you mean 'prod'"):
        _ = where(profile="pord").url
    with pytest.raises(ConfigError, match="and no file has profiles"):
        _ = where(profile="prod", files=Files()).url
    with pytest.raises(ConfigError, match=r"^/u/config.yaml:6:24: the environment variable NOWHERE is not set"):
        _ = where(profile="open").url
    assert where(profile="mine").url.value == "nats://mine", "what nobody chose is not expanded"
