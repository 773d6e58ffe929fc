"""Own the texts of `aiki help TOPIC`. What has a source elsewhere is made of it: exit codes, variables, columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

_WIDTH: Final = 79

_EXIT_CODES: Final = """\
Exit codes are a contract: 0 to 8 speak of runs, 64 to 78 of the plumbing,
from 124 on of the waiting. Of several runs, it is the highest.

{codes}

A script needs one `case`:

  aiki enqueue process-order order.id=o-1 --key order-1 --wait --timeout 10m
  case $? in
    0) ;;                                  # the result is on stdout
    1|3|4|7) exit 1 ;;                     # the work failed, or needs a person
    69|75|124) exit 75 ;;                  # later: the same again, by its key
    *) exit 2 ;;                           # the script, or its surroundings
  esac

A status is a question, and 0 for a failed run, too: --exit-status lets it
speak for the run. A closed pipe (`| head -1`) is no error.
"""

_ENVIRONMENT: Final = """\
A flag says more than a variable, a variable more than a profile, a profile
more than the manifest. An empty variable is none. `aiki config show --origin`
tells where each value comes from.

{variables}

Secrets belong into variables or files, never into flags: every user of the
machine can read those. A daemon has variables of its own: aikid --help.
"""

_FORMATTING: Final = """\
stdout carries the result alone; what is said to people goes to stderr, and -q
silences it, but for errors.

  -o table   for people; the default on a terminal
  -o tsv     a line a row, cells between tabs, no header; the default in a pipe
  -o json    one document
  -o jsonl   a document a line, written as it comes
  -o ids     the ids alone, for xargs; nothing of what has none

AIKI_OUTPUT is the default. An enqueue prints its id, a wait its result, as it
is: -o json has more of both. Texts, such as this one, are the same in each.

TSV   An empty cell says nothing. Tabs, line ends and controls are escapes
      (\\t \\n \\x1b), a backslash is two. Objects are JSON, times are UTC. The
      columns of each command are below; new ones come at the end.
JSON  Members that say nothing are null and not left out; new ones may come.
      Times are RFC 3339 in UTC, lengths are seconds. `id` is what a thing is
      called. An error is one object on stderr. Schemas: aiki help json

--columns takes some columns of a table or of TSV, in your order; a name that
no row has is refused before anything is done:

  aiki run list --state failed --columns id,workflow,why

{columns}
"""

_PAYLOADS: Final = """\
A payload is one JSON object: the workflow's parameters by their names.

  name=Ada              text
  times:=2              JSON: a number, true, null, [1, 2], {{"a": 1}}
  order.id=o-1          a member of a member: {{"order": {{"id": "o-1"}}}}

  -p '{{"name": "Ada"}}'  all of it; pairs override its members
  -p @order.json        from a file
  -p -                  from stdin, which is never read otherwise

  aiki enqueue hello name=Ada times:=2
  jq .order all.json | aiki enqueue process-order -p - --key order-1

It is checked against the workflow's schema before anything is enqueued:
`aiki workflow show NAME -o json` shows that. With exit code 65 the error names
the place that does not fit ($.order.cents).

One run a row, of .jsonl or .csv (an empty cell is left out, `a.b` in the head
is nested, cells become what the schema wants):

  aiki enqueue process-order --from orders.csv --key-field id

With a key a repeat finds the run that is there: a command that was cut off is
finished by the same command.
"""

_MANIFEST: Final = """\
aiki.yaml says which modules hold workflows and how they run. Found by -f, then
AIKI_MANIFEST, then upward from here; a found one must be yours.

  aiki: 1                          # the format
  project: shop                    # whose the schedules below are
  modules:                         # what -m names
    myflows: [myflows.orders, myflows.reports]
  path: [src]                      # first on sys.path, from here
  workflows:                       # they win over the code
    process-order:
      timeout: 30d
      retry: {{type: exponential, max_attempts: 5, base_delay: 1s}}
      retention: {{completed: 30d, failed: 90d}}
  schedules:                       # what `aiki apply` makes so
    nightly:
      workflow: report
      version: "1.0.0"
      cron: "0 2 * * *"            # or every: 15m, or at: 2026-12-31T23:00Z
      timezone: Europe/Berlin
      payload: {{scope: all}}
  worker: {{max_concurrent_runs: 100, drain: 30s}}
  client: {{url: "${{AIKI_SHOP_URL}}", namespace: default}}
  profiles:
    prod:
      client: {{url: "${{AIKI_PROD_URL}}"}}
      protected: true              # ask before anything that changes runs

Unknown keys are errors, told by file:line:column with exit code 78. Versions
and crons are quoted. ${{VARIABLE}} stands only under client.

  aiki check               # all that can be told without a server
  aiki apply --dry-run     # what of the schedules would change
"""

_CONNECTION: Final = """\
Aiki is reached over NATS. Which server: --url, AIKI_URL, the profile
(--profile, AIKI_PROFILE), the manifest, an `aiki dev` of this project that
lives, and else nats://127.0.0.1:4222.

  aiki config show --origin        # each value, and who says it

69 unreachable   No NATS answers there, or NATS and no aikid behind it. Start
                 one (aiki dev), or name another (AIKI_URL).
77 denied        NATS does not let us in: AIKI_CREDS, or the password in
                 AIKI_URL, with @ / ? # in it percent-encoded.
75 try again     The server has too much to do, or is being replaced.

TLS: tls:// in the address; --tls-ca for an authority of your own, --tls-cert
and --tls-key where NATS wants to know us. To wait for a server that is not
there yet: --start-timeout 30s.
"""


@dataclass(frozen=True)
class Topic:
    """Something that `aiki help` tells of."""

    about: str
    text: Callable[[], str]


def _codes() -> str:
    from aiki_cli.words.endings import MEANINGS

    return _listed((str(code), words) for code, words in sorted(MEANINGS.items()))


def _variables() -> str:
    from aiki_cli.words.variables import VARIABLES

    return _listed(VARIABLES.items())


def _columns() -> str:
    """Return the columns of all commands, those together that have the same."""
    from aiki_cli.view.columns import COLUMNS

    commands: dict[tuple[str, ...], list[str]] = {}
    for command, kinds in COLUMNS.items():
        commands.setdefault(tuple(kinds), []).append(command)
    lines: list[str] = []
    for kinds, names in commands.items():
        lines += wrap(", ".join(names), _WIDTH, initial_indent="  ", subsequent_indent="  ")
        for kind in kinds:
            lines += wrap(kind, _WIDTH, initial_indent="      ", subsequent_indent="        ")
    return "\n".join(lines)


def _listed(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with what is said of each, in two columns."""
    told = list(pairs)
    indent = max(len(name) for name, _ in told) + 4
    lines: list[str] = []
    for name, words in told:
        lines += wrap(words, _WIDTH, initial_indent=f"  {name}".ljust(indent), subsequent_indent=" " * indent)
    return "\n".join(lines)


TOPICS: Final[Mapping[str, Topic]] = {
    "exit-codes": Topic("what a script learns from $?", lambda: _EXIT_CODES.format(codes=_codes())),
    "environment": Topic("the variables that are read", lambda: _ENVIRONMENT.format(variables=_variables())),
    "formatting": Topic("tables, TSV, JSON, ids, and the columns", lambda: _FORMATTING.format(columns=_columns())),
    "payloads": Topic("how to type what a workflow takes", _PAYLOADS.format),
    "manifest": Topic("aiki.yaml", _MANIFEST.format),
    "connection": Topic("where it connects, and what to do where it does not", _CONNECTION.format),
}
"""By the words that are typed; `json` has schemas instead of a text."""
