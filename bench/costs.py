"""Own what a measurement costs beside time: CPU by process, commits and bytes of WAL, read before and after it.

Commits are counted by the transaction ids that Postgres gave out, since its own statistics lag by seconds; a
transaction that only reads takes none.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

SERVERS = {"postgres": "postgres", "nats-server": "nats"}
"""The processes below aikid that are told apart, by the kernel's name for them."""

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_COUNTERS = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_current_wal_insert_lsn() - '0/0'::pg_lsn"


@dataclass(frozen=True)
class Reading:
    """What had been spent at one moment; CPU by process: client, aikid, worker, postgres, nats."""

    cpu_seconds: Mapping[str, float]
    commits: int
    wal_bytes: int


def read_before(roots: Mapping[int, str], database_url: str) -> Reading:
    """Return what has been spent by this process (the client) and by the trees below `roots`, each with its name."""
    counters = _counters(database_url)
    return Reading(_cpu_seconds(roots), *counters)


def read_after(roots: Mapping[int, str], database_url: str) -> Reading:
    """Return the same at the end; the order is turned round, so that neither pays for the connection of a reading."""
    cpu_seconds = _cpu_seconds(roots)
    return Reading(cpu_seconds, *_counters(database_url))


def per_run(before: Reading, after: Reading, runs: int) -> dict[str, float]:
    """Return what each of `runs` runs cost: CPU in µs, in all and by process, commits and bytes of WAL."""
    cpu = {name: 1e6 * (seconds - before.cpu_seconds.get(name, 0)) for name, seconds in after.cpu_seconds.items()}
    costs = {
        "cpu_us": sum(cpu.values()),
        **{f"cpu_us_{name}": spent for name, spent in cpu.items()},
        "commits": after.commits - before.commits,
        "wal_bytes": after.wal_bytes - before.wal_bytes,
    }
    return {name: round(spent / runs, 6) for name, spent in costs.items()}


def _counters(database_url: str) -> tuple[int, int]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(_COUNTERS).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])


def _cpu_seconds(roots: Mapping[int, str]) -> dict[str, float]:
    """Return the CPU seconds of each name; children that have ended count with the parent that waited for them."""
    stats = dict(_stats())
    spent: dict[str, float] = {"client": time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)}
    waiting = dict(roots)
    while waiting:
        pid, name = waiting.popitem()
        if pid not in stats:
            continue
        spent[name] = spent.get(name, 0.0) + _clock(pid) + stats[pid].ended_seconds
        for child, stat in stats.items():
            if stat.parent == pid:
                waiting[child] = SERVERS.get(stat.command, name)
    return spent


@dataclass(frozen=True)
class _Stat:
    command: str
    parent: int
    ended_seconds: float


def _stats() -> Iterator[tuple[int, _Stat]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            head, _, tail = (folder / "stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked: its parent has its time
        fields = tail.split()
        yield int(folder.name), _Stat(head.partition("(")[2], int(fields[1]), _ended(fields))


def _ended(fields: list[str]) -> float:
    # proc_pid_stat(5): cutime and cstime, what waited-for children have used.
    return (int(fields[13]) + int(fields[14])) * _TICK_SECONDS


def _clock(pid: int) -> float:
    """Return the CPU seconds of a process with all its threads, ended ones too; 0.0 if it is gone."""
    # What clock_getcpuclockid(3) makes of a pid: to the nanosecond, where /proc counts ticks of 10 ms.
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0
