"""Own the execution of one claimed run: replay, tasks, retries, timers. It never speaks to the network.

`Execution` is driven by a `Host` (the worker) and drives the user's body and tasks.
"""

from aiki.execution.execution import Execution
from aiki.execution.host import Host
from aiki.execution.lease import Lease
from aiki.execution.settings import Settings

__all__ = ["Execution", "Host", "Lease", "Settings"]
