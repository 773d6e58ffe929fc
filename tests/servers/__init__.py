"""Real servers for tests: Postgres, nats-server and aikid as processes that tests may kill, freeze and wipe.

All of them die with the test process, even if that is killed.
"""

from tests.servers.aikid import Aikid, Aikids, aikid_command
from tests.servers.nats import USER, Nats, running_nats
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.process import descendants, is_alive
from tests.servers.program import Program
from tests.servers.surroundings import clean_environment, free_port, plain_user_command, server_account, server_folder

__all__ = [
    "USER",
    "Aikid",
    "Aikids",
    "Nats",
    "Postgres",
    "Program",
    "aikid_command",
    "clean_environment",
    "descendants",
    "free_port",
    "is_alive",
    "plain_user_command",
    "running_nats",
    "running_postgres",
    "server_account",
    "server_folder",
]
