"""Whose files are obeyed."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from aiki.core.ownership import _others_in, objection, trusted_owners

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can give files away")
needs_private_group = pytest.mark.skipif(
    bool(_others_in(os.getegid(), trusted_owners())), reason="others are in our group"
)
STRANGER = 12345
THEIR_GROUP = 23456


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.touch()
    made.chmod(0o644)
    return made


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The members by name of the group THEIR_GROUP; to be filled."""
    members: list[str] = []
    ours, known = grp.getgrgid, pwd.getpwall()
    stranger = pwd.struct_passwd(("mallory", "x", STRANGER, THEIR_GROUP + 1, "", "/", "/bin/sh"))
    joined = pwd.struct_passwd(("joined", "x", STRANGER + 1, THEIR_GROUP, "", "/", "/bin/sh"))

    def group_of(gid: int) -> grp.struct_group:
        return grp.struct_group(("theirs", "x", gid, members)) if gid == THEIR_GROUP else ours(gid)

    def account(name: str) -> pwd.struct_passwd:
        return next(entry for entry in (*known, stranger, joined) if entry.pw_name == name)

    monkeypatch.setattr(grp, "getgrgid", group_of)
    monkeypatch.setattr(pwd, "getpwnam", account)
    monkeypatch.setattr(pwd, "getpwall", lambda: [*known, stranger, *([joined] if "joined" in members else [])])
    return members


def reason(path: Path, owners: frozenset[int] | None = None) -> str | None:
    with path.open("rb") as stream:
        return objection(stream.fileno(), trusted_owners() if owners is None else owners)


def test_what_is_ours_alone_is_obeyed(file: Path) -> None:
    assert reason(file) is None
    assert reason(Path("/etc/passwd")) is None, "root's too"


def test_what_everybody_may_write_is_not(file: Path) -> None:
    file.chmod(0o666)
    assert reason(file) == "can be written by everybody"


@needs_private_group
def test_a_private_group_is_as_good_as_its_owner(file: Path) -> None:
    file.chmod(0o664)
    assert reason(file) is None


@needs_root
def test_what_belongs_to_somebody_else_is_not(file: Path) -> None:
    os.chown(file, STRANGER, 0)
    assert reason(file) == f"belongs to uid {STRANGER}"
    os.chown(file, pwd.getpwnam("nobody").pw_uid, 0)
    assert str(reason(file)).startswith("belongs to nobody (uid ")


@needs_root
def test_the_person_behind_sudo_is_not_somebody_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(file, STRANGER, 0)
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    assert reason(file) is None
    monkeypatch.setenv("SUDO_UID", "root; 1")
    assert reason(file) == f"belongs to uid {STRANGER}"


@needs_root
@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([], None),
        (["root"], None),
        (["root", "mallory"], "can be written by the group theirs, which has other members (uid 12345)"),
        (["joined"], "can be written by the group theirs, which has other members (uid 12346)"),
    ],
)
def test_a_group_is_trusted_as_long_as_nobody_else_is_in_it(
    file: Path, group: list[str], members: list[str], told: str | None
) -> None:
    group += members
    os.chown(file, 0, THEIR_GROUP)
    file.chmod(0o664)
    assert reason(file) == told
    file.chmod(0o644)
    assert reason(file) is None


@needs_root
def test_a_group_that_nobody_keeps_a_list_of_is_not_trusted(file: Path) -> None:
    os.chown(file, 0, THEIR_GROUP)
    file.chmod(0o664)
    assert "nobody knows whom" in str(reason(file))


@needs_private_group
def test_an_access_list_that_lets_others_write_is_noticed(file: Path) -> None:
    file.chmod(0o664)
    try:
        # POSIX.1e as Linux stores it: version 2; user::rw-, user:12345:rw-, group::r--, mask::rw-, other::r--
        entries = [(1, 6, -1), (2, 6, STRANGER), (4, 4, -1), (16, 6, -1), (32, 4, -1)]
        packed = b"".join(
            tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
            for tag, rights, who in entries
        )
        os.setxattr(file, "system.posix_acl_access", (2).to_bytes(4, "little") + packed)
    except (OSError, AttributeError):
        pytest.skip("this file system has no access lists")
    assert reason(file) == "can be written by others, by its access list"


def test_a_plain_user_does_not_trust_the_variable_of_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert trusted_owners() == {0, 1000}
