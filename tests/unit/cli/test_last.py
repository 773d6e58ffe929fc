"""What is kept for `@last`: whole at each moment, for this terminal and place alone, and not for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiki import NotFound
from aiki_cli.words import last

FIRST, SECOND = "01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000002"


def at(url: str = "nats://127.0.0.1:4222", namespace: str = "default") -> Any:
    return SimpleNamespace(transport=SimpleNamespace(url=url, namespace=namespace))


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("AIKI_TERMINAL", "one")
    return tmp_path / "aiki" / "last"


def test_whoever_reads_while_another_one_is_kept_sees_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    last.remember(at(), FIRST)
    seen: list[str] = []
    replace = Path.replace

    def seen_before(self: Path, target: Path) -> Path:
        seen.append(last.last_run(at()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", seen_before)
    last.remember(at(), SECOND)
    assert (seen, last.last_run(at())) == ([FIRST], SECOND)


def test_each_terminal_address_and_namespace_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    last.remember(at(), FIRST)
    for other in (at("nats://127.0.0.1:4223"), at(namespace="shop")):
        with pytest.raises(NotFound, match="this terminal has enqueued no run at nats://127"):
            last.last_run(other)
    monkeypatch.setenv("AIKI_TERMINAL", "two")
    with pytest.raises(NotFound):
        last.last_run(at())


def test_a_password_is_no_part_of_what_is_told() -> None:
    with pytest.raises(NotFound) as caught:
        last.last_run(at("nats://me:s3cr3t@prod:4222"))
    assert "s3cr3t" not in str(caught.value)


def test_what_was_kept_for_long_goes_with_the_first_of_another_terminal(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last.remember(at(), FIRST)
    (old,) = kept.iterdir()
    then = time.time() - last.KEPT_SECONDS - 60
    os.utime(old, (then, then))
    monkeypatch.setenv("AIKI_TERMINAL", "two")
    last.remember(at(), SECOND)
    assert old not in list(kept.iterdir())
    assert last.last_run(at()) == SECOND


def test_what_a_command_left_that_was_killed_harms_no_later_one(kept: Path) -> None:
    last.remember(at(), FIRST)
    (file,) = kept.iterdir()
    file.with_suffix(f".{os.getpid()}").write_text(FIRST[:10])
    last.remember(at(), SECOND)
    last.remember(at(), SECOND)
    assert last.last_run(at()) == SECOND
    assert list(kept.iterdir()) == [file]


def test_no_link_is_followed(kept: Path, tmp_path: Path) -> None:
    last.remember(at(), FIRST)
    (file,) = kept.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotFound, match="cannot be read"):
        last.last_run(at())
    last.remember(at(), SECOND)
    assert (last.last_run(at()), (tmp_path / "elsewhere").read_text()) == (SECOND, FIRST)


def test_whatever_the_umask_is_what_is_kept_can_be_read_again(kept: Path) -> None:
    before = os.umask(0o777)
    try:
        last.remember(at(), FIRST)
    finally:
        os.umask(before)
    (file,) = kept.iterdir()
    assert [one.stat().st_mode & 0o777 for one in (kept.parent, kept, file)] == [0o700, 0o700, 0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_somebody_else_has_written_is_not_believed(kept: Path) -> None:
    last.remember(at(), FIRST)
    (file,) = kept.iterdir()
    os.chown(file, 12345, 12345)
    with pytest.raises(NotFound, match="belongs to uid 12345"):
        last.last_run(at())
