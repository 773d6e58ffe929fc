"""Own which claims this worker holds, has given back or waits for.

The worker's loop claims, begins and ends runs; the lease thread gives back what the daemon counts as this session's and
nobody here holds. Neither waits for the other: all they agree on is decided here, under one lock. Invariant: a run is
given back or held by its claim, never both, whatever the order in which a claim's reply and a renewal's come. What is
given back is remembered before its release is sent, since from then on it may be another worker's.

Only a claim that is waited for can still bring runs: once its reply is taken in or no longer waited for, the transport
drops whatever comes for it. So that is how long its runs are remembered, and the memory is bounded by the claims under
way, which have at most CLAIM_RUNS runs each.

A hand-over's claim is not waited for: nobody knows of it before it comes, and it may come twice. So all of them that
came are remembered, and all that were given back unseen, for longer than any is worth beginning (see `parking`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final

from aiki.wire.messages import Fence

REMEMBERED_SECONDS: Final = 60.0
"""For how long at least a hand-over is remembered: twice to four times as long as one is begun after its birth."""


class Inventory:
    """The claims of one worker process, over all its sessions: a claim_id is used once. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}
        """How many runs each claim still holds, by claim_id."""
        self._given_back: dict[str, set[str]] = {}
        """By each claim that is waited for, the runs of it that were given back."""
        self._handed = Remembered(REMEMBERED_SECONDS)
        """Claims of hand-overs that have come."""
        self._unseen = Remembered(REMEMBERED_SECONDS)
        """Claims that nobody here knew of when a renewal named them; their runs were given back."""

    def expect(self, claim_id: str) -> None:
        """Say that a claim is about to be sent."""
        with self._lock:
            self._given_back[claim_id] = set()

    def hold(self, claim_id: str, runs: Sequence[str]) -> set[str]:
        """Take in what a claim's reply brought, before any of it begins; return those that were given back before.

        All count as held until each is let go, those as well: whoever took the reply in gives them back once more.
        """
        with self._lock:
            if runs:
                self._held[claim_id] = self._held.get(claim_id, 0) + len(runs)
            return self._given_back[claim_id].intersection(runs)

    def receive(self, claim_id: str, runs: int) -> bool | None:
        """Take in a hand-over before any of it begins: whether it was given back before; None if it came before.

        Its runs count as held until each is let go, as those of a claim.
        """
        with self._lock:
            if claim_id in self._handed or claim_id in self._held:
                return None
            self._handed.add(claim_id)
            self._held[claim_id] = runs
            return claim_id in self._unseen

    def let_go(self, claim_id: str) -> None:
        """Say that the claim holds one run less."""
        with self._lock:
            left = self._held[claim_id] - 1
            if left:
                self._held[claim_id] = left
            else:
                del self._held[claim_id]

    def forget(self, claim_id: str) -> None:
        """Say that the claim is no longer waited for."""
        with self._lock:
            del self._given_back[claim_id]

    def held(self) -> list[str]:
        """Return the claims that hold runs, for a renewal to list."""
        with self._lock:
            return list(self._held)

    def counts(self, claim_ids: Iterable[str]) -> list[int]:
        """Return how many runs each of these claims holds."""
        with self._lock:
            return [self._held.get(claim_id, 0) for claim_id in claim_ids]

    def give_back(self, unlisted: Iterable[Fence]) -> list[Fence]:
        """Return those of the runs, which a renewal has named, that are to be released: none of them is begun here."""
        with self._lock:
            given = [fence for fence in unlisted if fence.claim_id not in self._held]
            for fence in given:
                if fence.claim_id in self._given_back:
                    self._given_back[fence.claim_id].add(fence.run_id)
                else:
                    self._unseen.add(fence.claim_id)
            return given


class Remembered:
    """Texts that were added within the last `seconds` at least, and within twice that at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._new: set[str] = set()
        self._old: set[str] = set()
        self._turn_at = time.monotonic() + seconds

    def add(self, text: str) -> None:
        """Remember it."""
        if (now := time.monotonic()) >= self._turn_at:
            self._old = self._new if now < self._turn_at + self._seconds else set()
            self._new = set()
            self._turn_at = now + self._seconds
        self._new.add(text)

    def __contains__(self, text: str) -> bool:
        return text in self._new or text in self._old
