"""Own the question whether one tree is worse than another, from the rows of both. Pure.

Costs may be 3 % higher, times and rates 5 % worse; where they disagree costs tell more, since times are noisy.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

BASE, HERE = "base", "here"
LEAST_RATE, MOST_TIME, MOST_COST = 0.95, 1.05, 1.03


@dataclass(frozen=True)
class Metric:
    """A figure of a row: its unit, and the bounds of its ratio to the base's; without bounds it is only shown."""

    name: str
    unit: str
    least: float = 0.0
    most: float = float("inf")


SPEED = (
    Metric("rate", "runs/s", least=LEAST_RATE),
    Metric("p50_ms", "ms p50", most=MOST_TIME),
    Metric("p95_ms", "ms p95", most=MOST_TIME),
    Metric("ms_per_step", "ms a task", most=MOST_TIME),
    Metric("start_p50_ms", "ms p50 to the start", most=MOST_TIME),
    Metric("start_p99_ms", "ms p99 to the start"),
    Metric("end_p50_ms", "ms p50 to the end", most=MOST_TIME),
    Metric("end_p99_ms", "ms p99 to the end"),
)
SECONDS = Metric("seconds", "s", most=MOST_TIME)
"""The speed of a workload that has no other figure for it."""
COSTS = (
    Metric("cpu_us", "µs of CPU a run", most=MOST_COST),
    *(Metric(f"cpu_us_{name}", f"  {name}") for name in ("client", "aikid", "worker", "postgres", "nats")),
    Metric("commits", "commits a run", most=MOST_COST),
    Metric("wal_bytes", "bytes of WAL a run", most=MOST_COST),
)


@dataclass(frozen=True)
class Compared:
    """One metric of one measurement in both trees, pair by pair."""

    label: str
    metric: Metric
    base: Sequence[float]
    here: Sequence[float]

    @property
    def ratio(self) -> float:
        """Return the ratio of the medians, here / base."""
        return _ratio(statistics.median(self.here), statistics.median(self.base))

    @property
    def spread(self) -> tuple[float, float]:
        """Return the least and the greatest ratio of a pair: how noisy the ratio is."""
        ratios = [_ratio(here, base) for here, base in zip(self.here, self.base, strict=True)]
        return min(ratios), max(ratios)

    @property
    def judged(self) -> bool:
        """Tell whether the metric has a bound at all."""
        return self.metric.least > 0 or self.metric.most < float("inf")

    @property
    def worse(self) -> bool:
        """Tell whether it lies outside its bounds."""
        return not self.metric.least <= self.ratio <= self.metric.most


def compare(rows: Mapping[str, Sequence[Row]]) -> list[Compared]:
    """Return what both trees came to, measurement by measurement, speed before costs."""
    base, here = _by_label(rows[BASE]), _by_label(rows[HERE])
    return [
        Compared(label, metric, _values(base[label], metric), _values(here[label], metric))
        for label in base
        for metric in _metrics(base[label][0])
    ]


def table(compared: Sequence[Compared]) -> str:
    """Return a line for each metric: medians, their ratio, that of the pairs, and whether this tree is worse."""
    lines = [f"{'':40} {'base':>10} {'here':>10} {'ratio':>7} {'of the pairs':>15}"]
    for index, one in enumerate(compared):
        if index == 0 or one.label != compared[index - 1].label:
            lines.append(one.label)
        lines.append(_line(one))
    worse = [f"{one.label}: {one.metric.unit} {one.ratio:.3f}" for one in compared if one.worse]
    lines.append("worse: " + "; ".join(worse) if worse else "not worse")
    return "\n".join(lines)


def _line(one: Compared) -> str:
    base, here = (_short(statistics.median(values)) for values in (one.base, one.here))
    spread = "{:.3f}-{:.3f}".format(*one.spread)
    verdict = ("WORSE" if one.worse else "ok") if one.judged else ""
    return f"    {one.metric.unit:36} {base:>10} {here:>10} {one.ratio:7.3f} {spread:>15} {verdict}".rstrip()


def _by_label(rows: Sequence[Row]) -> dict[str, list[Row]]:
    sorted_rows: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        sorted_rows[row["label"]].append(row)
    return sorted_rows


def _metrics(row: Row) -> list[Metric]:
    """Return what is compared of such a row."""
    if "figure" in row:
        return [Metric("figure", row["unit"], most=MOST_COST if row["unit"] == "MB" else MOST_TIME)]
    speed, costs = ([metric for metric in of if row.get(metric.name) is not None] for of in (SPEED, COSTS))
    return [*(speed or [SECONDS]), *costs]


def _values(rows: Sequence[Row], metric: Metric) -> list[float]:
    return [float(row[metric.name]) for row in rows]


def _ratio(here: float, base: float) -> float:
    if base == 0:
        return 1.0 if here == 0 else float("inf")
    return here / base


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:,.4g}"
