"""Own the execution of one claimed run: replay, tasks, retries, timers. It never speaks to the network.

`Execution` is driven by a `Host` (the worker) and drives the user's body and tasks.
"""

from aiki.execution.bounds import Limits
from aiki.execution.execution import Execution
from aiki.execution.host import ClaimedRun, Host
from aiki.execution.lease import Lease
from aiki.execution.tasks.bench import Bench
from aiki.execution.tasks.pools import Pools

__all__ = ["Bench", "ClaimedRun", "Execution", "Host", "Lease", "Limits", "Pools"]
