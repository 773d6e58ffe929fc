"""Own which code each route has, as workers register it, and what a session is told of that."""

from __future__ import annotations

from collections.abc import Mapping

from aiki.core.states import BEGUN
from aiki.rules import codes
from aiki.rules.codes import Registered
from aiki.testing.memory.run import RouteKey
from aiki.testing.memory.store import Session, Store
from aiki.wire.limits import COUNTED_RUNS
from aiki.wire.messages import CodeChange, Route


def register(store: Store, session: Session, routes: Mapping[RouteKey, Route]) -> list[CodeChange]:
    """Take note of the code that a session has, and say of which routes it is another while runs are in flight."""
    told = {key: route.fingerprint for key, route in routes.items() if route.fingerprint}
    session.codes |= told
    known = {key: store.codes.get(key, Registered()) for key in told}
    alike = {key for key, code in told.items() if _has_another(store, session, key, code)}
    for key, code in codes.new_codes(told, known, alike=alike).items():
        since, worker = store.coded_at.get(key, (0, ""))
        store.codes[key] = Registered(code, session.id, known[key].code, since, worker)
        store.coded_at[key] = (store.now(), session.worker)
    changed = sorted(key for key in told if codes.is_changed(store.codes[key], session.id))
    return [change for key in changed if (change := _change(store, key)).runs]


def _has_another(store: Store, session: Session, key: RouteKey, code: str) -> bool:
    others = (one for one in store.sessions.values() if one is not session and one.is_alive)
    return any(one.codes.get(key) == code for one in others)


def _change(store: Store, key: RouteKey) -> CodeChange:
    known, (since, _) = store.codes[key], store.coded_at[key]
    begun = sum(
        run.route == key and run.state in BEGUN and run.started_at is not None and run.started_at < since
        for run in store.runs.values()
    )
    python = codes.python_before(known)
    runs = min(begun, COUNTED_RUNS)
    return CodeChange(*key, runs, known.earlier_since, known.earlier_by, python, capped=begun > COUNTED_RUNS)
