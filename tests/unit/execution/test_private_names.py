"""Names of anyio's and Python's that are not public: they are there in what we test with, and we start without them."""

import subprocess
import sys
import warnings

from anyio._backends._asyncio import CancelScope

from aiki.execution import faults, repeats

WITHOUT = """
import warnings
from anyio._backends._asyncio import CancelScope
del CancelScope._deliver_cancellation, warnings._warn_unawaited_coroutine
import aiki.worker
"""


def test_what_is_wrapped_is_there_now():
    assert vars(CancelScope)["_deliver_cancellation"] is repeats._deliver_and_tell
    assert vars(warnings)["_warn_unawaited_coroutine"] is faults._tell_unawaited
    assert repeats._deliver is not None
    assert faults._warn is not None


def test_a_worker_starts_without_it():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
