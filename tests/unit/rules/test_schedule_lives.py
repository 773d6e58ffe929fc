"""Each slot of a schedule is decided once, whatever clocks and people do to it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from aiki.core.moments import SECOND, to_wire
from aiki.rules.calendar import fires_at, slots
from aiki.rules.scheduling import Decided, Decision, Look, Waiting, decide, restart
from aiki.wire.limits import QUEUED_SLOTS
from aiki.wire.messages.schedules import Spec

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
BEGIN = to_wire(datetime(2026, 5, 4, 12, tzinfo=UTC), what="a time")
SPECS = st.builds(
    Spec,
    every=st.sampled_from([SECOND * 20, MINUTE, 7 * MINUTE]),
    jitter=st.sampled_from([0, 30 * SECOND, HOUR]),
    overlap=st.sampled_from(["skip", "queue", "cancel_previous", "allow"]),
    catch_up=st.sampled_from(["none", "latest", "all"]),
    window=st.sampled_from([0, 5 * MINUTE, 24 * HOUR]),
)
STEPS = st.tuples(
    st.sampled_from([-2 * HOUR, 0, SECOND, 10 * SECOND, MINUTE, 20 * MINUTE, HOUR, 5 * HOUR]),
    st.sampled_from(["look", "look", "look", "ends", "pause", "resume"]),
)


@given(spec=SPECS, steps=st.lists(STEPS, max_size=25))
@settings(max_examples=60, deadline=None)
def test_every_slot_is_decided_once_whatever_clocks_and_people_do(spec: Spec, steps: list[tuple[int, str]]) -> None:
    played = _Played(Look(id="s", spec=spec, now=BEGIN, decided=BEGIN))
    for by, what in steps:
        played.step(by, what)
    due = [*slots_until(spec, BEGIN, played.now.decided)]
    assert sorted(played.fates) == due
    assert set(played.fates.values()) <= {1}
    assert len(played.now.queued) <= QUEUED_SLOTS


def slots_until(spec: Spec, after: int, until: int) -> Iterator[int]:
    for slot in slots(spec, after):
        if slot > until:
            return
        yield slot


class _Played:
    """A schedule in somebody's hands, and how often each slot got a row that is not of one that had waited."""

    def __init__(self, begin: Look) -> None:
        self.now = begin
        self.fates: Counter[int] = Counter()

    def step(self, by: int, what: str) -> None:
        self.now = replace(self.now, now=self.now.now + by)
        if what == "ends":
            self.now = replace(self.now, open=0)
        if what == "pause":
            self.now = replace(self.now, paused=True)
        if what == "resume":
            self.apply(restart(self.now))
            self.now = replace(self.now, paused=False)
        decision = decide(self.now)
        self.apply(decision)
        if decision.look_at is None or decision.look_at > self.now.now:
            assert not decide(self.now).rows

    def apply(self, decision: Decision) -> None:
        assert decision.decided >= self.now.decided
        assert all(early.slot <= late.slot for early, late in pairwise(r for r in decision.rows if not r.waited))
        queued, open = list(self.now.queued), self.now.open
        for row in decision.rows:
            if row.waited:
                queued.remove(Waiting(row.kind, row.slot))
            else:
                self.count(row)
            if row.result == "queued":
                queued.append(Waiting(row.kind, row.slot))
            if row.result == "started":
                assert fires_at(self.now.spec, "s", row.slot) <= self.now.now or row.waited
                open += 1
        self.now = replace(self.now, decided=decision.decided, zones=decision.zones, open=open, queued=queued)

    def count(self, row: Decided) -> None:
        covered = [*slots_until(self.now.spec, row.slot - 1, row.until or row.slot)]
        assert len(covered) == row.count
        self.fates.update(covered)
