"""A body that writes down that it has begun, as a coroutine, in a thread and in a process."""

from __future__ import annotations

from pathlib import Path

from aiki.definitions.task import task


def write(path: str, word: str) -> None:
    """Append a word; all processes of a test share the file."""
    with Path(path).open("a") as file:
        file.write(f"{word}\n")


def words(path: str) -> list[str]:
    """Return what was written."""
    return Path(path).read_text().split() if Path(path).exists() else []


def body(path: str, fails: int) -> None:
    """Begin, and fail if not more than `fails` have begun."""
    write(path, "body")
    if words(path).count("body") <= fails:
        raise OSError("not yet")


@task
async def in_coroutine(path: str, fails: int) -> None:
    body(path, fails)


@task
def in_thread(path: str, fails: int) -> None:
    body(path, fails)


@task(executor="process")
def in_process(path: str, fails: int) -> None:
    body(path, fails)


@task(at_most_once=True)
async def once_in_coroutine(path: str, fails: int) -> None:
    body(path, fails)


@task(at_most_once=True)
def once_in_thread(path: str, fails: int) -> None:
    body(path, fails)


@task(executor="process", at_most_once=True)
def once_in_process(path: str, fails: int) -> None:
    body(path, fails)
