"""Is it told right whether one tree is worse than another?"""

import pytest

from bench.comparison import BASE, HERE, compare, table


def rows(**metrics):
    """Return one tree's rows of one workload, a value of each metric for each pair."""
    names = ["label", "seconds", *metrics]
    columns = [["W9"] * 9, [1] * 9, *metrics.values()]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=False)]


def judged(base, here):
    return {one.metric.name: one for one in compare({BASE: base, HERE: here})}


def test_medians_are_compared_and_one_outlier_does_not_count():
    found = judged(rows(rate=[100, 100, 20]), rows(rate=[97, 300, 97]))["rate"]
    assert (found.ratio, found.worse) == (0.97, False)
    assert found.spread == (0.97, 4.85)


@pytest.mark.parametrize(
    ("metric", "still", "worse"),
    [
        ("rate", 95, 94.9),
        ("p50_ms", 105, 105.1),
        ("p95_ms", 105, 105.1),
        ("ms_per_step", 105, 105.1),
        ("seconds", 105, 105.1),
        ("cpu_us", 103, 103.1),
        ("commits", 103, 103.1),
        ("wal_bytes", 103, 103.1),
    ],
)
def test_each_metric_is_worse_only_beyond_its_bound(metric, still, worse):
    base = rows(**{metric: [100]})
    assert not judged(base, rows(**{metric: [still]}))[metric].worse
    assert judged(base, rows(**{metric: [worse]}))[metric].worse


def test_cpu_by_process_is_shown_and_not_judged():
    found = judged(rows(cpu_us_worker=[100]), rows(cpu_us_worker=[300]))["cpu_us_worker"]
    assert found.ratio == 3
    assert not found.judged
    assert not found.worse


def test_seconds_stand_only_where_a_workload_has_no_figure_of_its_own():
    assert list(judged(rows(rate=[1]), rows(rate=[1]))) == ["rate"]
    assert list(judged(rows(rate=[None]), rows(rate=[None]))) == ["seconds"]


def test_memory_is_judged_as_a_cost_and_nothing_is_as_good_as_nothing():
    memory = judged(rows(figure=[100], unit=["MB"]), rows(figure=[104], unit=["MB"]))["figure"]
    idle = judged(rows(figure=[0], unit=["% of a core"]), rows(figure=[0], unit=["% of a core"]))["figure"]
    assert memory.worse
    assert not idle.worse


def test_the_last_line_of_the_table_is_the_verdict():
    same = compare({BASE: rows(rate=[2000]), HERE: rows(rate=[2000])})
    worse = compare({BASE: rows(rate=[2000], cpu_us=[1]), HERE: rows(rate=[1000], cpu_us=[1])})
    assert table(same).splitlines()[-1] == "not worse"
    assert table(worse).splitlines()[-1] == "worse: W9: runs/s 0.500"
    assert [line.split()[-1] for line in table(worse).splitlines()[2:4]] == ["WORSE", "ok"]
