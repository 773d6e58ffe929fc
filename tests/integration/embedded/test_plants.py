"""What somebody else left in the data folder: nothing of it is followed, nothing outside changes, and it is told."""

from __future__ import annotations

import ast
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiki.core.errors import ConfigError
from aikid.embedded import binaries
from aikid.embedded.home import open_home
from tests import servers
from tests.integration.embedded.attempts import SERVED
from tests.servers import Program
from tests.waiting import patient

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can give files away")
STRANGER = 12345
KEPT = ("lock", "postgres.log", "nats.log", "nats/nats.conf", "postgres/PG_VERSION")
"""Files that are there after the servers have run, and are read or written again."""
PASSING = ("nats/pid", "postgres/postmaster.pid", "servers.json")
"""Files that are there while they run."""
FOLDERS = ("postgres", "nats", "run")
EVERYTHING = (*KEPT, *PASSING, *FOLDERS, ".")
Plant = Callable[[str], Path]


def refused(path: Path, reason: str) -> str:
    """Return what is said of `path`."""
    return f"{path} {reason}: the embedded servers use nothing that others may have put there"


class Field:
    """A data folder with a cluster of the account's own, and outside of it what must not change."""

    def __init__(self, folder: Path, *, plain: bool) -> None:
        self.data = folder / "project" / ".aiki"
        self.data.parent.mkdir()
        self.victim = folder / "victim"
        self.victims = folder / "victims"
        self.victims.mkdir(mode=0o700)
        for path in (self.victim, self.victims / "file"):
            path.write_text("12\n")  # as a pid file or a version might be
            path.chmod(0o600)
        self._asked: subprocess.Popen[str] | None = None
        self.plain = plain
        if plain and AS_ROOT:
            for path in (self.data.parent, self.victim, self.victims, self.victims / "file"):
                os.chown(path, *servers.server_account().ids)

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.integration.embedded.attempts"]
        wrapped = servers.plain_user_command(command) if self.plain else command
        if wrapped is None:
            pytest.skip("this machine has no setpriv")
        root = Path(__file__).parents[3]
        self._asked = subprocess.Popen(
            wrapped, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, env=servers.clean_environment()
        )

    def attempt(self, data: Path | None = None) -> str:
        """Run the servers on the folder and return what came of it; nothing outside may have changed."""
        assert self._asked is not None
        assert self._asked.stdin is not None
        assert self._asked.stdout is not None
        before = self.outside()
        self._asked.stdin.write(f"{data or self.data}\n")
        self._asked.stdin.flush()
        said: str = ast.literal_eval(self._asked.stdout.readline())
        assert self.outside() == before
        return said

    def outside(self) -> list[tuple[object, ...]]:
        """Return all that may be seen of what lies outside: names, contents, owners, permissions and times."""
        found: list[tuple[object, ...]] = []
        for path in (self.victim, self.victims, *sorted(self.victims.iterdir())):
            state = path.lstat()
            content = path.read_bytes() if path.is_file() else None
            found.append((path, content, state.st_uid, state.st_gid, state.st_mode, state.st_mtime_ns))
        return found

    def close(self) -> None:
        if self._asked is not None:
            self._asked.communicate(timeout=patient(20))


@pytest.fixture(scope="module", params=["root", "plain"] if AS_ROOT else ["plain"])
def kept(request: pytest.FixtureRequest) -> Iterator[Field]:
    with servers.server_folder() as folder:
        field = Field(folder, plain=request.param == "plain")
        field.start()
        try:
            assert field.attempt() == SERVED
            yield field
        finally:
            field.close()


@pytest.fixture
def field(kept: Field) -> Field:
    """The data folder as the servers left it; what `plant` puts into it is taken away again."""
    return kept


@pytest.fixture
def plant(field: Field) -> Iterator[Plant]:
    """Call it with a name in the data folder to have that moved aside for the test, and get its path."""
    moved: list[tuple[Path, Path]] = []

    def aside(name: str) -> Path:
        path = field.data / name
        while moved and moved[-1][0] == path:
            back(*moved.pop())
        moved.append((path, path.with_name(f"{path.name}.aside")))
        if os.path.lexists(path):
            path.rename(moved[-1][1])
        return path

    yield aside
    for path, kept in reversed(moved):
        back(path, kept)


def back(path: Path, kept: Path) -> None:
    """Remove what is at `path`, and put what was there before, and was kept aside, there again."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if os.path.lexists(kept):
        kept.rename(path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "victim") for name in EVERYTHING),
        *((name, "victims") for name in (".", *FOLDERS, "lock")),
        *((name, "nothing") for name in (".", "nats", "lock", "nats.log")),
    ],
)
def test_a_link_is_not_followed(field: Field, plant: Plant, name: str, target: str) -> None:
    path = plant(name)
    path.symlink_to(field.victim.with_name(target))
    assert field.attempt() == refused(path, "is a link")
    assert not os.path.lexists(field.victim.with_name("nothing"))


@pytest.mark.parametrize("name", [".gitignore", "postgres.log.1", "servers.json.new", "nats/nats.conf.new"])
def test_a_link_in_the_way_is_left_or_replaced_but_not_followed(field: Field, plant: Plant, name: str) -> None:
    plant(name).symlink_to(field.victim)
    assert field.attempt() == SERVED


@pytest.mark.parametrize("target", ["victims", "nothing"])
def test_half_a_cluster_that_is_a_link_is_not_removed_through_it(field: Field, plant: Plant, target: str) -> None:
    plant("postgres")
    path = plant("postgres.new")
    path.symlink_to(field.victim.with_name(target))
    assert field.attempt() == refused(path, "is a link")


@pytest.mark.parametrize("name", [*KEPT, *PASSING])
def test_a_hard_link_is_not_written(field: Field, plant: Plant, name: str) -> None:
    path = plant(name)
    os.link(field.victim, path)
    assert field.attempt() == refused(path, "has another name elsewhere (a hard link)")


@pytest.mark.parametrize("name", ["lock", "nats.log", "nats/pid", "postgres/postmaster.pid", "servers.json"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_holds_nobody_up(field: Field, plant: Plant, name: str, make: Callable[[Path], None]) -> None:
    path = plant(name)
    make(path)
    assert field.attempt() == refused(path, "is no plain file")


@pytest.mark.parametrize("name", [".", *FOLDERS])
def test_what_is_no_folder_is_told(field: Field, plant: Plant, name: str) -> None:
    path = plant(name)
    os.mkfifo(path)
    assert field.attempt() == refused(path, "is no folder")


@needs_root
@pytest.mark.parametrize("name", EVERYTHING)
def test_what_belongs_to_somebody_else_is_not_used(field: Field, plant: Plant, name: str) -> None:
    path = plant(name) if name in PASSING else field.data / name
    if name in PASSING:
        path.write_text("1\n")
    owner = path.stat()
    os.chown(path, STRANGER, STRANGER)
    said = field.attempt()
    os.chown(path, owner.st_uid, owner.st_gid)
    assert said == refused(path, f"belongs to uid {STRANGER}")


@pytest.mark.parametrize("name", EVERYTHING)
def test_what_everybody_may_write_is_not_used(field: Field, plant: Plant, name: str) -> None:
    path = plant(name) if name in PASSING else field.data / name
    if name in PASSING:
        path.write_text("1\n")
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o1777 if path.is_dir() else 0o666)
    said = field.attempt()
    path.chmod(before)
    assert said == refused(path, "can be written by everybody")


@needs_root
def test_a_planted_home_leads_nowhere(field: Field, plant: Plant) -> None:
    for text in ("/tmp", str(field.victims), "..", "", "/var/lib/aiki", "/var/lib/aiki/bin", "/var/lib/aiki/a/../b"):
        path = plant("home")
        path.write_text(f"{text}\n")
        expected = refused(path, f"names {Path(text)}, which is no folder of ours in /var/lib/aiki")
        assert field.attempt() == (SERVED if field.plain else expected), "only root's servers may live elsewhere"


@needs_root
@pytest.mark.parametrize("kind", ["is a link", "is no plain file", "has another name", f"belongs to uid {STRANGER}"])
def test_a_home_that_is_not_ours_is_not_even_read(field: Field, plant: Plant, kind: str) -> None:
    path = plant("home")
    match kind:
        case "is a link":
            path.symlink_to(field.victim)
        case "is no plain file":
            os.mkfifo(path)
        case "has another name":
            os.link(field.victim, path)
        case _:
            path.write_text("/var/lib/aiki/project-12345678\n")
            os.chown(path, STRANGER, STRANGER)
    said = field.attempt()
    assert said == SERVED if field.plain else said.startswith(f"{path} {kind}")


@pytest.mark.parametrize("where", ["postgres/postmaster.pid", "nats/pid"])
def test_a_pid_file_gets_no_stranger_killed(field: Field, plant: Plant, where: str) -> None:
    stranger = Program(["sleep", "60"], field.data.parent, name="stranger", env={}, cwd=field.victims)
    stranger.start()
    try:
        for text in (f"{stranger.pid}\n", "-1\n", "1\n", "9" * 30, "\x00\xff"):
            path = plant(where)
            path.write_text(text)
            os.chown(path, *servers.server_account().ids)
            assert field.attempt() == SERVED
        assert stranger.running
    finally:
        stranger.close()


def test_all_that_is_made_is_for_its_owner_alone_under_any_umask(field: Field) -> None:
    # The servers ran under umask 0.
    for path in (field.data, *field.data.rglob("*")):
        if path.parent.is_relative_to(field.data / "postgres"):
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        expected = {0o711, 0o700} if path == field.data else {0o700, 0o600}
        assert mode in expected, (path, oct(mode))


@pytest.mark.parametrize(
    "command",
    [
        *(servers.aikid_command(command, "--embedded") for command in ("serve", "migrate", "check")),
        [sys.executable, "-m", "aiki_cli", "dev"],
    ],
    ids=lambda command: command[3],
)
def test_each_command_ends_with_78(folder: Path, command: list[str]) -> None:
    (folder / "elsewhere").mkdir()
    (folder / ".aiki").symlink_to("elsewhere")
    program = Program(command, folder, name="program", env=servers.clean_environment(), cwd=folder)
    program.start()
    assert program.wait() == 78
    assert refused(folder / ".aiki", "is a link") in program.logged()
    assert list((folder / "elsewhere").iterdir()) == []


def lead_elsewhere(path: Path) -> None:
    path.symlink_to("elsewhere")


def open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def give_away(path: Path) -> None:
    path.mkdir()
    os.chown(path, STRANGER, STRANGER)


@needs_root
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lead_elsewhere, "is a link"),
        (open_to_all, "can be written by everybody"),
        (give_away, f"belongs to uid {STRANGER}"),
    ],
)
def test_a_system_folder_that_others_may_fill_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], reason: str
) -> None:
    monkeypatch.setattr(binaries, "SYSTEM_HOME", folder / "lib")
    (folder / "elsewhere").mkdir()
    spoil(folder / "lib")
    (folder / "closed").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=f"lib {reason}"), open_home(folder / "closed" / ".aiki"):
        pass
    assert list((folder / "elsewhere").iterdir()) == []
