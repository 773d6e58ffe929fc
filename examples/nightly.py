"""A report that is made each night: each night once, whatever dies, and none without what came since the last one.

The run is told by its schedule which night it is of, and which was the last that has completed: it reports what came
since. So what a night that failed or was missed would have reported is in the report of the next one; one that is made
up for when later ones have completed, by `backfill`, reports its own day. A month of nights is tested in
`tests/acceptance/examples/test_nightly.py`. `aiki.yaml` declares the schedule; by hand:

    aiki worker start -f examples/aiki.yaml -m nightly
    aiki schedule create nightly nightly-report city=Berlin --cron "0 2 * * *" --timezone Europe/Berlin
    aiki schedule next nightly
    aiki schedule trigger nightly --wait
    aiki schedule backfill nightly --from 2026-01-01 --to 2026-01-04 --yes
    aiki schedule show nightly
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from aiki import WorkflowRun, task, workflow

SALES_AN_HOUR = 3


@dataclass
class Report:
    city: str
    since: datetime
    until: datetime
    sales: int


@task
def count_sales(city: str, since: datetime, until: datetime) -> int:
    """Stand for a query of a shop's database."""
    return SALES_AN_HOUR * ((until - since) // timedelta(hours=1))


@task
def publish(report: Report) -> str:
    return f"{report.city}: {report.sales} sales until {report.until:%Y-%m-%d %H:%M}"


@workflow(name="nightly-report")
async def nightly_report(run: WorkflowRun, city: str) -> str:
    fired = run.schedule  # None if somebody has enqueued it
    until = fired.slot if fired else run.now()
    last = fired.last_completed if fired else None
    since = last if last is not None and last < until else until - timedelta(days=1)
    sales = await count_sales.run(run, city, since, until)
    return await publish.run(run, Report(city, since, until, sales))
