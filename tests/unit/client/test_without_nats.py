"""A client can be made, and a task or workflow be written, without what speaks to NATS."""

import subprocess
import sys

PROGRAM = """
import sys
import aiki.client.client
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"nats", "nkeys", "sqlalchemy", "psycopg", "alembic"}, loaded
"""


def test_importing_the_client_imports_no_nats() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
