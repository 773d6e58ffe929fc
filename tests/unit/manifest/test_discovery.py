"""Where a manifest is found, and that none is obeyed which a stranger may have written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from aiki.core.errors import ConfigError
from aiki.core.ownership import objection
from aiki.manifest import discovery, find, find_user

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can give files away")
STRANGER = 12345


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a manifest, and a folder `a/b` in it."""
    folder = tmp_path.resolve() / "project"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "aiki.yaml").write_text("aiki: 1")
    for made in (folder, folder / "a", folder / "a" / "b"):
        made.chmod(0o755)
    (folder / "aiki.yaml").chmod(0o644)
    return folder


def found(folder: Path, **environment: str) -> Path | None:
    source = find(None, environment, folder)
    return source.file if source else None


def refusal(folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        find(None, {}, folder)
    return caught.value


def give(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


def test_a_named_file_comes_before_the_environment_and_the_folders(project: Path, tmp_path: Path) -> None:
    here = project / "a" / "b"
    assert found(here) == project / "aiki.yaml"
    other, third = tmp_path / "other.yaml", tmp_path / "third.yaml"
    other.write_text("other")
    third.write_text("third")
    assert find(None, {"AIKI_MANIFEST": str(other)}, here) == discovery.Source(other, b"other")
    assert find(third, {"AIKI_MANIFEST": str(other)}, here) == discovery.Source(third, b"third")
    with pytest.raises(ConfigError, match="cannot read the manifest"):
        find(tmp_path / "none.yaml", {}, here)


def test_no_manifest_is_none(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert find(None, {}, tmp_path) is None


def test_the_search_ends_at_a_repositorys_root(project: Path) -> None:
    (project / "a" / ".git").touch()  # a file, as in a worktree
    assert found(project / "a" / "b") is None
    (project / "a" / "aiki.yaml").write_text("aiki: 1")
    assert found(project / "a" / "b") == project / "a" / "aiki.yaml", "the root itself is looked into"


def test_the_search_ends_at_home(project: Path) -> None:
    assert found(project / "a" / "b", HOME=str(project / "a")) is None
    assert found(project / "a" / "b", HOME=str(project)) == project / "aiki.yaml"


def test_the_search_ends_where_something_is_mounted() -> None:
    assert list(discovery._upward(Path("/proc/sys/kernel"), frozenset())) == [
        Path("/proc/sys/kernel"),
        Path("/proc/sys"),
        Path("/proc"),
    ]


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_file_that_everybody_may_write_is_refused(project: Path, mode: int) -> None:
    (project / "aiki.yaml").chmod(mode)
    told = refusal(project / "a" / "b")
    assert f"{project}/aiki.yaml (owner: " in told.message
    assert "it can be written by everybody" in told.message
    assert told.hint == f"if you trust it, name it: -f {project}/aiki.yaml   (or AIKI_MANIFEST)"
    assert find(project / "aiki.yaml", {}, project) is not None, "what is named is obeyed"
    assert find(None, {"AIKI_MANIFEST": str(project / "aiki.yaml")}, project) is not None


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_everybody_may_write_is_refused(project: Path, mode: int) -> None:
    project.chmod(mode)  # its modules would be imported from there, sticky or not
    assert f"its folder {project}" not in refusal(project).message
    assert "its folder can be written by everybody" in refusal(project).message


def test_a_folder_on_the_way_does_not_matter(project: Path) -> None:
    project.parent.chmod(0o777)
    (project / "a").chmod(0o777)
    assert found(project / "a" / "b") == project / "aiki.yaml"


@needs_root
@pytest.mark.parametrize("name", ["aiki.yaml", "."])
def test_what_belongs_to_somebody_else_is_refused(project: Path, name: str) -> None:
    give(project / name)
    told = refusal(project / "a" / "b")
    assert f"{project}/aiki.yaml" in told.message
    assert f"uid {STRANGER}" in told.message
    assert "-f " in str(told.hint)


@needs_root
def test_the_person_behind_sudo_is_obeyed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(project)
    give(project / "aiki.yaml")
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    assert found(project) == project / "aiki.yaml"


def test_a_link_of_ours_is_followed(project: Path) -> None:
    (project / "a" / "aiki.yaml").symlink_to("../aiki.yaml")
    assert found(project / "a" / "b") == project / "a" / "aiki.yaml"


@needs_root
def test_a_strangers_link_is_refused_before_it_is_followed(project: Path) -> None:
    link = project / "a" / "aiki.yaml"
    os.mkfifo(project / "fifo")
    for target in (project / "aiki.yaml", project / "fifo", project / "nothing"):
        link.symlink_to(target)
        give(link)
        assert f"{link} (owner: uid {STRANGER})" in refusal(project / "a").message
        link.unlink()


@pytest.mark.parametrize("shared", ["aiki.yaml", "."])
def test_a_link_to_what_others_may_write_is_refused(project: Path, shared: str) -> None:
    (project / shared).chmod(0o777)
    (project / "a" / "aiki.yaml").symlink_to("../aiki.yaml")
    assert "can be written by everybody" in refusal(project / "a" / "b").message


def test_what_is_no_file_is_passed_over(project: Path) -> None:
    inner = project / "a" / "aiki.yaml"
    makers: list[Callable[[], object]] = [
        inner.mkdir,
        lambda: os.mkfifo(inner),
        lambda: inner.symlink_to("nothing"),
        lambda: inner.symlink_to("."),
        lambda: inner.symlink_to("/dev/zero"),
    ]
    for make in makers:
        make()
        assert found(project / "a" / "b") == project / "aiki.yaml"
        inner.rmdir() if inner.is_dir() and not inner.is_symlink() else inner.unlink()


@pytest.mark.parametrize("judged", [stat.S_ISREG, stat.S_ISDIR])
def test_what_is_swapped_in_after_the_judgement_is_not_read(
    project: Path, monkeypatch: pytest.MonkeyPatch, judged: Callable[[int], bool]
) -> None:
    swapped_in = project / "swapped-in"
    swapped_in.write_text("of a stranger")
    swapped_in.chmod(0o666)

    def judge_then_swap(descriptor: int, owners: frozenset[int]) -> str | None:
        reason = objection(descriptor, owners)
        if judged(os.fstat(descriptor).st_mode) and swapped_in.exists():
            swapped_in.replace(project / "aiki.yaml")
        return reason

    monkeypatch.setattr(discovery, "objection", judge_then_swap)
    if judged is stat.S_ISREG:
        assert find(None, {}, project) == discovery.Source(project / "aiki.yaml", b"aiki: 1")
    else:
        assert "it can be written by everybody" in refusal(project).message
    assert not swapped_in.exists()


def test_an_endless_file_is_not_read_to_its_end() -> None:
    source = find(Path("/dev/zero"), {}, Path("/"))
    assert source is not None
    assert len(source.raw) == discovery.MANIFEST_BYTES + 1


def test_a_users_own_settings_are_found_in_their_folder_or_named(tmp_path: Path) -> None:
    assert find_user({}, None) is None
    assert find_user({}, tmp_path / "nowhere") is None
    assert find_user({}, Path(os.devnull)) is None
    file, other = tmp_path / "config.yaml", tmp_path / "other.yaml"
    file.write_text("mine")
    other.write_text("other")
    tmp_path.chmod(0o755)
    assert find_user({}, tmp_path) == discovery.Source(file, b"mine")
    assert find_user({"AIKI_USER_CONFIG": f"{other}\n"}, tmp_path) == discovery.Source(other, b"other")
    with pytest.raises(ConfigError, match="cannot read the settings"):
        find_user({"AIKI_USER_CONFIG": str(tmp_path / "none")}, None)


def test_settings_that_others_may_write_are_refused_and_those_of_somebody_else_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("mine")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="was found and is not obeyed: it can be written by everybody") as caught:
        find_user({}, tmp_path)
    assert caught.value.hint == f"if you trust it, name it: export AIKI_USER_CONFIG={file}"
    file.chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="its folder can be written by everybody"):
        find_user({}, tmp_path)
    if AS_ROOT:
        give(file)
        assert find_user({}, tmp_path) is None
