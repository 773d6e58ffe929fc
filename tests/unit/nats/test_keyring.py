"""What key files hold, as the systems that they came through left them, and what is none."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nkeys
import pytest

from aiki.core.errors import ConfigError, FileUnreadable
from aiki.core.keyfiles import KeyFiles, key_files
from aiki.nats.keyring import login, tls_context
from tests.servers.operator import Operator


@pytest.fixture
def credentials() -> str:
    return Operator().credentials(seconds=60)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "user.creds"


LEFT = {
    "as nsc writes them": lambda text: text.encode(),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16, redirected by PowerShell": lambda text: text.encode("utf-16"),
    "indented, by YAML": lambda text: "\n".join(f"    {line}" for line in text.splitlines()).encode(),
    "without the lines between": lambda text: "\n".join(
        line for line in text.splitlines() if not line.startswith("-")
    ).encode(),
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_credentials_are_read_as_they_come(file: Path, credentials: str, left) -> None:
    file.write_bytes(left(credentials))
    found = login(KeyFiles(creds=file))
    assert found is not None
    assert found.jwt in credentials.splitlines()
    assert found.seed in credentials.splitlines()


def test_what_can_be_read_but_once_is_kept(credentials: str) -> None:
    reads, writes = os.pipe()
    os.write(writes, credentials.encode())
    os.close(writes)
    file = Path(f"/dev/fd/{reads}")
    assert login(KeyFiles(creds=file)) == login(KeyFiles(creds=file))
    os.close(reads)


def test_a_seed_alone_is_enough(file: Path, credentials: str) -> None:
    seed = next(line for line in credentials.splitlines() if line.startswith("SU"))
    file.write_text(f"{seed}\n")
    found = login(KeyFiles(creds=file))
    assert found is not None
    assert (found.jwt, found.seed) == ("", seed)


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "SUNOSEED", "SU" + "A" * 56, "-----BEGIN NATS USER JWT-----", "\0\xff", "SAAC" + "A" * 54],
)
def test_what_holds_no_seed_is_refused_and_not_repeated(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"creds: .*user\.creds holds no user's seed") as caught:
        login(KeyFiles(creds=file))
    assert text == "" or text not in str(caught.value)


@pytest.mark.parametrize("name", ["creds", "tls_ca", "tls_cert"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    for file, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory"), (Path("a\0b"), "no path")):
        read = login if name == "creds" else tls_context
        with pytest.raises(FileUnreadable, match=f"{name}: cannot read .*{reason}"):
            read(KeyFiles(**{name: file}))


def test_nothing_shows_what_a_login_holds(file: Path, credentials: str) -> None:
    file.write_text(credentials)
    found = login(KeyFiles(creds=file))
    assert found is not None
    assert found.seed not in repr(found)
    assert found.jwt not in repr(found)


def test_expiry_is_told_by_our_clock_alone(file: Path, credentials: str) -> None:
    file.write_text(credentials)
    found = login(KeyFiles(creds=file))
    assert found is not None
    now = datetime.now(UTC)
    assert found.expired(now) == ""
    assert found.expired(now + timedelta(hours=1)).startswith(f"what {file} holds expired at 20")


@pytest.mark.parametrize("jwt", ["eyJ.x.y", "eyJ.eyJ9.y", "eyJ.e30.y", "ey.W10.y", "ey.eyJleHAiOjF9MQ.y"])
def test_a_jwt_that_cannot_be_read_is_the_servers_to_judge(file: Path, credentials: str, jwt: str) -> None:
    seed = next(line for line in credentials.splitlines() if line.startswith("SU"))
    file.write_text(f"{jwt}\n{seed}")
    found = login(KeyFiles(creds=file))
    assert found is not None
    assert found.jwt == jwt
    assert found.expired(datetime.now(UTC)) == ""


def test_a_signature_is_by_the_seed(file: Path, credentials: str) -> None:
    from base64 import b64decode

    file.write_text(credentials)
    found = login(KeyFiles(creds=file))
    assert found is not None
    assert nkeys.from_seed(found.seed.encode()).verify(b"nonce", b64decode(found.sign("nonce")))


def test_what_is_given_wins_over_variables_and_an_empty_word_says_that_there_is_none() -> None:
    variables = {"AIKI_CREDS": " of-variable.creds\r\n", "AIKI_TLS_CA": "ca.pem", "AIKI_TLS_KEY": " "}
    found = key_files({"creds": None, "tls_ca": "", "tls_cert": Path("tls.crt")}, variables)
    assert found == KeyFiles(creds=Path("of-variable.creds"), tls_cert=Path("tls.crt"))


@pytest.mark.parametrize("name", ["creds", "tls_ca", "tls_key"])
def test_keys_in_place_of_a_files_name_are_not_repeated(name: str, credentials: str) -> None:
    jwt, seed = (line for line in credentials.splitlines() if line.startswith(("ey", "SU")))
    for keys in (credentials, jwt, f" {seed}\n", f"-----BEGIN PRIVATE KEY----- {seed}"):
        with pytest.raises(ConfigError, match=f"^{name}: it is given the keys themselves") as caught:
            key_files({}, {f"AIKI_{name.upper()}": keys})
        for told in (str(caught.value), caught.value.hint):
            assert seed[2:] not in str(told)
            assert jwt[2:] not in str(told)


def test_the_home_of_nobody_is_no_home() -> None:
    assert key_files({"creds": "~nobody-here/a.creds"}, {}) == KeyFiles(creds=Path("~nobody-here/a.creds"))


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tls_key: .* expected tls_cert beside it"):
        tls_context(KeyFiles(tls_key=tmp_path / "tls.key"))


def test_without_files_the_system_decides_whom_to_trust() -> None:
    assert tls_context(KeyFiles()) is None
