"""Own how tests look at a run in memory, and how they give one what another has come to."""

from __future__ import annotations

from collections.abc import Sequence

from aiki.core.states import State
from aiki.rules.standing import Standing
from aiki.testing.memory.run import Made, Run
from aiki.testing.memory.store import Store
from aiki.wire.messages import Attempt, Entry, RunOptions
from tests.worlds.inbox import WorldInbox

EPOCH = 1_700_000_000_000_000
PARKED = (State.WAITING, State.SLEEPING, State.RETRYING)


class View:
    """A run, in its own words."""

    def __init__(self, run: Run, store: Store) -> None:
        self.run = run
        self.store = store

    @property
    def input(self) -> bytes:
        return bytes(self.run.input)

    @property
    def inbox(self) -> WorldInbox:
        return WorldInbox(self.run)

    @property
    def standing(self) -> Standing:
        return self.run.standing

    @standing.setter
    def standing(self, after: Standing) -> None:
        self.run.inbox.news = after.news
        self.store.stand(self.run, after)

    @property
    def journal(self) -> list[Entry]:
        return self.run.life.journal

    @journal.setter
    def journal(self, entries: Sequence[Entry]) -> None:
        self.run.life.journal = [*entries]

    @property
    def attempts(self) -> list[Attempt]:
        """The tries beside the journal."""
        return [*self.run.life.tries.values()]

    @attempts.setter
    def attempts(self, tries: Sequence[Attempt]) -> None:
        self.run.life.tries = {(one.key, one.attempt): one for one in tries}
        self.run.life.made = dict.fromkeys(self.run.life.tries, Made(EPOCH, 0, 0))

    @property
    def labels(self) -> dict[str, str]:
        return self.run.labels

    @labels.setter
    def labels(self, labels: dict[str, str]) -> None:
        self.run.labels = labels

    @property
    def options(self) -> RunOptions:
        return self.run.options

    @options.setter
    def options(self, options: RunOptions) -> None:
        self.run.options = options
        if options.key is not None:
            self.store.keys[self.run.workflow, options.key] = self.run

    @property
    def digest(self) -> str | None:
        return self.run.digest

    @digest.setter
    def digest(self, digest: str | None) -> None:
        self.run.digest = digest

    @property
    def attempt(self) -> int:
        return self.run.attempt

    @attempt.setter
    def attempt(self, attempt: int) -> None:
        self.run.attempt = attempt

    @property
    def origin_id(self) -> str:
        return self.run.origin_id

    @property
    def state(self) -> State:
        return self.run.state

    @property
    def epoch(self) -> int:
        return self.standing.epoch

    @property
    def generation(self) -> int:
        return self.standing.generation

    @property
    def is_told(self) -> bool:
        """Tell whether it has heard that it is to end."""
        return self.run.cancel_seq is not None

    @property
    def is_parked(self) -> bool:
        """Tell whether it rests until something comes."""
        return self.state in PARKED
