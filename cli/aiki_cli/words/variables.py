"""Own what each environment variable says that `aiki` reads, for `aiki help environment`. A test knows them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VARIABLES: Final[Mapping[str, str]] = {
    "AIKI_URL": "where Aiki is, with the password if there is one: nats://127.0.0.1:4222",
    "AIKI_NAMESPACE": "whose runs",
    "AIKI_PROFILE": "the profile to use",
    "AIKI_CREDS": "a file of credentials for NATS",
    "AIKI_TLS_CA": "the certificate of who signs NATS's",
    "AIKI_TLS_CERT": "our own certificate",
    "AIKI_TLS_KEY": "its key",
    "AIKI_MANIFEST": "the manifest, instead of aiki.yaml upward from here",
    "AIKI_USER_CONFIG": "the file of your own profiles",
    "AIKI_OUTPUT": "what stdout carries: table, json, jsonl, tsv or ids",
    "AIKI_START_TIMEOUT": "how long to wait for a server that does not answer yet: 30s",
    "AIKI_TERMINAL": "a name for this terminal, by which @last is kept: several may share it",
    "AIKI_LOG_LEVEL": "what a worker logs: DEBUG, INFO, WARNING or ERROR",
    "AIKI_DEBUG": "1: a bug shows its traceback",
    "AIKI_NATS_PORT": "the port of `aiki dev`; 4222",
    "NO_COLOR": "not empty: no colours",
    "TERM": "dumb: nothing is drawn in place",
}
"""By their names, in the order in which they are shown."""
UNTOLD: Final = frozenset(
    {
        "AIKI_CONFIG",
        "AIKI_DATABASE_URL",
        "AIKI_DATABASE_URL_FILE",
        "AIKI_NATS_URL",
        "AIKI_NATS_URL_FILE",
        "AIKI_FAILPOINTS",
        "AIKI_FAILPOINTS_ONCE",
        "AIKI_PARENT_FD",
        "AIKI_READY_FD",
    }
)
"""Those of aikid, and those that only our own processes, and our tests, hand to one another."""
