"""What aikid makes of schedules is what the rule decides, look by look: random ones, whose runs end now and then, that
people pause and change, by a clock that jumps."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pytest

from aiki.core.moments import SECOND
from aiki.rules import scheduling
from aiki.rules.scheduling import Decision, Kind, Look, Waiting, fired_run_id
from aiki.wire.messages import NewSchedule, OrderSchedules
from aikid.engine import schedules
from tests.integration.daemon.engine import Engine
from tests.integration.daemon.firing import Standing, declared, fire, put

pytestmark = pytest.mark.anyio

MINUTE = 60 * SECOND
JUMPS = (-3_600, 0, 1, 1, 30, 61, 300, 301, 1_000, 7_200, 40_000)
Row: TypeAlias = tuple[str, str | None, str | None, int | None, int]
"""What a slot came to, why, its run, up to where it reaches, and how many it stands for."""


@dataclass(slots=True)
class Model:
    """A schedule as the rule has it; `open` are its runs that have not ended."""

    look: Look
    rows: dict[tuple[Kind, int], Row] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    look_at: int | None = None

    @property
    def looked(self) -> Look:
        return replace(self.look, open=len(self.open))

    def apply(self, decision: Decision) -> None:
        """Have become of the slots what is decided. Runs that nobody has begun end as soon as they are cancelled."""
        queued = list(self.look.queued)
        if decision.cancels:
            self.open.clear()
        for row in decision.rows:
            one = Waiting(row.kind, row.slot)
            run_id = fired_run_id(self.look.id, row.kind, row.slot) if row.result == "started" else None
            self.rows[row.kind, row.slot] = (row.result, row.reason or None, run_id, row.until, row.count)
            if row.waited:
                queued.remove(one)
            if row.result == "queued":
                queued.append(one)
            if run_id is not None:
                self.open.add(run_id)
        self.look = replace(self.look, decided=decision.decided, zones=decision.zones, queued=queued)
        self.look_at = decision.look_at


def some_schedule(draw: random.Random, number: int) -> NewSchedule:
    fields: dict[str, Any] = {
        "overlap": draw.choice(["skip", "queue", "cancel_previous", "allow"]),
        "catch_up": draw.choice(["none", "latest", "all"]),
        "window": draw.choice([0, 10 * MINUTE, 24 * 60 * MINUTE]),
        "jitter": draw.choice([0, 0, 3 * MINUTE]),
    }
    if draw.random() < 0.3:
        fields |= {"cron": draw.choice(["*/7 * * * *", "5 1,2 * * *"]), "timezone": "Europe/Berlin"}
    else:
        fields["every"] = draw.choice([20, 60, 300, 3_600]) * SECOND
    return declared(f"s-{number:02}", **fields)


async def stored(engine: Engine) -> dict[str, dict[tuple[Kind, int], Row]]:
    found: dict[str, dict[tuple[Kind, int], Row]] = {}
    for name, kind, slot, *row in await engine.execute(
        "SELECT s.name, t.kind, t.slot_us, t.result, t.reason, t.run_id::text, t.until_us, t.count"
        " FROM aiki.slots t JOIN aiki.schedules s ON s.id = t.schedule_id"
    ):
        result, reason, run_id, until, count = row
        found.setdefault(name, {})[kind, slot] = (result, reason, run_id, until, count)
    return found


async def order(engine: Engine, models: dict[str, Model], what: Any, names: list[str]) -> None:
    await schedules.order(engine.pool, engine.namespace, OrderSchedules(names, what))
    for model in map(models.__getitem__, names):
        if what == "resume" and model.look.paused:
            model.apply(scheduling.restart(model.looked))
        model.look = replace(model.look, paused=what == "pause")
        model.look_at = None if what == "pause" else model.look_at


async def change(engine: Engine, clock: Standing, draw: random.Random, models: dict[str, Model], name: str) -> None:
    model = models[name]
    new = some_schedule(draw, int(name[2:]))
    await put(engine, new, update=True)
    paused = model.look.paused
    model.apply(scheduling.restart(model.looked, new.spec, paused=paused))
    model.look = replace(model.look, spec=new.spec)


@pytest.mark.parametrize("seed", range(2))
async def test_what_becomes_of_slots_is_what_the_rule_decides(engine: Engine, clock: Standing, seed: int) -> None:
    draw = random.Random(seed)
    models: dict[str, Model] = {}
    for number in range(30):
        new = some_schedule(draw, number)
        await put(engine, new)
        models[new.name] = Model(Look(id=new.id, spec=new.spec, now=clock.now, decided=clock.now))
        models[new.name].apply(scheduling.restart(models[new.name].look))
    for _ in range(10):
        now = await clock.go_on(draw.choice(JUMPS))
        open = sorted(run for model in models.values() for run in model.open)
        ended = draw.sample(open, k=min(len(open), draw.choice([0, 0, 3])))
        await engine.execute("UPDATE aiki.runs SET state = 'completed' WHERE id = ANY(%s::uuid[])", ended)
        for model in models.values():
            model.open -= set(ended)
            model.look = replace(model.look, now=now)
        names = draw.sample(sorted(models), k=3)
        await order(engine, models, draw.choice(["pause", "resume", "resume"]), names)
        await change(engine, clock, draw, models, draw.choice(sorted(models)))
        await fire(engine)
        for model in models.values():
            if model.look_at is not None and model.look_at <= now:
                model.apply(scheduling.decide(model.looked))
        found = await stored(engine)
        for name, model in models.items():
            assert found.get(name, {}) == model.rows, (name, model.look)
    told = {(row[0], row[1]) for model in models.values() for row in model.rows.values()}
    assert {result for result, _ in told} == {"started", "queued", "skipped", "missed"}
