"""Own the examples that the help of each command ends with: lines that can be typed as they stand.

RUN stands for a run, and NAME, FILE and the like for what they say. A test parses each of them as a shell and the
command line would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "dev": ("aiki dev --example hello", "aiki dev -m myflows"),
    "enqueue": (
        "aiki enqueue hello name=Ada times:=2 --key hello-1 --wait",
        "aiki enqueue process-order --from orders.csv --key-field id --wait",
    ),
    "status": ("aiki status", "aiki status @last --watch"),
    "wait": ("aiki wait RUN --timeout 10m -o json", "aiki wait --label batch=7 --timeout 1h"),
    "why": ("aiki why RUN", "aiki why process-order@order-1 -o json"),
    "worker start": ("aiki worker start -m myflows", "aiki worker start -m myflows --processes 4 --drain 2m"),
    "worker list": ("aiki worker list", "aiki worker list -o json"),
    "run list": (
        "aiki run list --state failed --since 1d --error TimeoutError",
        "aiki run list --key 'order-2026-11-*' --columns id,state,key -o tsv",
    ),
    "run show": ("aiki run show RUN", "aiki run show RUN --tree"),
    "run history": ("aiki run history RUN", "aiki run history RUN -o jsonl"),
    "run export": ("aiki run export RUN --to run.jsonl", "aiki run export --state failed --since 1d --to runs.jsonl"),
    "run import": ("aiki run import run.jsonl", "aiki run import - -o jsonl < runs.jsonl"),
    "run pause": ('aiki run pause RUN --reason "the bank is down"', "aiki run pause --workflow process-order --yes"),
    "run resume": ("aiki run resume RUN", "aiki run resume --workflow process-order --state blocked --yes"),
    "run cancel": (
        'aiki run cancel RUN --reason "asked for twice"',
        "aiki run cancel --label batch=7 --wait 0s --yes -o jsonl",
    ),
    "run wake": ("aiki run wake RUN", "aiki run wake --workflow process-order --state sleeping --yes"),
    "run retry": (
        "aiki run retry RUN --from charge",
        "aiki run retry --workflow process-order --older-than 1h --per-second 10 --yes",
    ),
    "run move": (
        "aiki run move RUN --to-version 2 -m myflows",
        "aiki run move --workflow order --to-version 2 -m myflows --yes",
    ),
    "run delete": (
        "aiki run delete RUN --yes",
        "aiki run delete --workflow order --state completed --older-than 90d --yes",
    ),
    "event send": (
        "aiki event send RUN approved -p '\"alice\"' --key click-7",
        "aiki event send --workflow order --state waiting rate-changed eur:=7 --yes",
    ),
    "schedule list": ("aiki schedule list", "aiki schedule list --project shop -o json"),
    "schedule show": ("aiki schedule show nightly", "aiki schedule show nightly --slots 100 -o json"),
    "schedule next": (
        "aiki schedule next nightly -n 10",
        'aiki schedule next --cron "0 2 * * *" --timezone Europe/Berlin',
    ),
    "schedule create": (
        'aiki schedule create nightly report scope=all --cron "0 2 * * *"',
        "aiki schedule create pulse ping --every 15m --jitter 30s",
    ),
    "schedule update": (
        'aiki schedule update nightly --cron "0 3 * * *" --end none',
        "aiki schedule update nightly scope=new --overlap skip",
    ),
    "schedule trigger": ("aiki schedule trigger nightly", "aiki schedule trigger nightly --wait --timeout 10m"),
    "schedule backfill": (
        "aiki schedule backfill nightly --from 2026-11-01 --to 2026-11-08",
        "aiki schedule backfill nightly --from 2026-11-01 --to 2026-11-08 --yes",
    ),
    "schedule pause": ('aiki schedule pause nightly --note "until the audit"', "aiki schedule pause nightly pulse"),
    "schedule resume": ("aiki schedule resume nightly", "aiki schedule resume nightly pulse -o json"),
    "schedule delete": ("aiki schedule delete pulse --yes", "aiki schedule delete nightly pulse --yes"),
    "workflow list": ("aiki workflow list", "aiki workflow list --columns workflow,version,standing"),
    "workflow show": ("aiki workflow show process-order", "aiki workflow show process-order --version 1 -o json"),
    "check": ("aiki check --strict", "aiki check -m myflows -o json"),
    "apply": ("aiki apply --dry-run", "aiki apply --prune --yes"),
    "replay": (
        "aiki replay --since 7d -m myflows --strict",
        "aiki replay --file run.jsonl -m myflows --debug",
    ),
    "config show": ("aiki config show --origin", "aiki config show --profile prod -o json"),
    "config profiles": ("aiki config profiles", "aiki config profiles -o ids"),
    "completion": ("source <(aiki completion bash)", "aiki completion fish > ~/.config/fish/completions/aiki.fish"),
    "help": ("aiki help exit-codes", "aiki help json run list"),
}
"""At least two of each command, by its words after `aiki`."""
