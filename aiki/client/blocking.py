"""Own the client for code without an event loop: the async client on a thread of its own, behind one portal.

In a fork the portal has another client, so nothing here keeps one, nor what belongs to one, from call to call.
It is no second API: a call goes through as it is, its coroutines are awaited and its generators walked on the portal.
Each method is written out for its types; a test holds them against the async ones, so that none is forgotten.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import TypeVar

from aiki.client.blocking_handle import AsyncClient, BlockingHandle, walk
from aiki.client.portal import Connect, Portal
from aiki.definitions.handle import Handle

if TYPE_CHECKING:
    from aiki.client.applying import Plan
    from aiki.client.blocking_schedules import BlockingSchedules
    from aiki.client.counts import NamespaceSummary
    from aiki.client.deleting import DeletedRun
    from aiki.client.history import HistoryEntry
    from aiki.client.importing import ImportOutcome
    from aiki.client.matching import RunCount, RunFilter
    from aiki.client.named import NamedCall
    from aiki.client.retention import RetentionPolicy
    from aiki.client.runs import RunPage, Runs
    from aiki.client.sending import SendOutcome
    from aiki.client.storage import StorageUse
    from aiki.client.workers import WorkerInfo
    from aiki.client.workflows import RegisteredWorkflows, WorkflowInfo
    from aiki.core.errors import AikiError
    from aiki.core.retention import Periods, Retention
    from aiki.core.states import State
    from aiki.definitions.call import Call
    from aiki.definitions.status import RunStatus
    from aiki.definitions.view import RunView
    from aiki.definitions.why import Why
    from aiki.inside.event import Event
    from aiki.payload import Result
    from aiki.replay.recording import Recording

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


Client_co = TypeVar("Client_co", bound=AsyncClient, default=AsyncClient, covariant=True)


class BlockingRuns:
    """The runs of the client's namespace; as `Runs`."""

    def __init__(self, portal: Portal[AsyncClient]) -> None:
        self._portal = portal

    @property
    def _runs(self) -> Runs:
        return self._portal.client.runs

    def status(self, run_ids: Iterable[str], *, follow: bool = True, explain: bool = True) -> Sequence[RunStatus]:
        """Return the runs in the order asked; as `Runs.status`. Raises NotFound if one does not exist."""
        return self._portal.call(partial(self._runs.status, run_ids, follow=follow, explain=explain))

    def follow(self, run_ids: Iterable[str]) -> Iterator[RunView]:
        """Yield runs in full at each of their changes; as `Runs.follow`. Raises NotFound."""
        return walk(self._portal, self._runs.follow(run_ids))

    def summaries(self) -> Iterator[NamespaceSummary]:
        """Yield the namespace's summary whenever something in it has changed; as `Runs.summaries`."""
        return walk(self._portal, self._runs.summaries())

    def why(self, run_id: str) -> Why:
        """Return why a run does not move; as `Runs.why`. Raises NotFound."""
        return self._portal.call(self._runs.why, run_id)

    def list(
        self,
        *,
        states: Iterable[State] = (),
        workflow: str | None = None,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        roots: bool = False,
        parent: str | None = None,
        version: str | None = None,
        key: str | None = None,
        key_prefix: str | None = None,
        error: str | None = None,
        worker: str | None = None,
        priority: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RunPage:
        """Return a page of runs, newest first; as `Runs.list`."""
        asked = partial(self._runs.list, states=states, workflow=workflow, labels=labels, since=since, before=before)
        asked = partial(asked, roots=roots, parent=parent, version=version, key=key, key_prefix=key_prefix)
        asked = partial(asked, error=error, worker=worker, priority=priority)
        return self._portal.call(partial(asked, limit=limit, cursor=cursor))

    def count(
        self,
        *,
        states: Iterable[State] = (),
        workflow: str | None = None,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        roots: bool = False,
        parent: str | None = None,
        version: str | None = None,
        key: str | None = None,
        key_prefix: str | None = None,
        error: str | None = None,
        worker: str | None = None,
        priority: int | None = None,
    ) -> RunCount:
        """Return how many runs `list` would have on all its pages, counted to 10,000."""
        asked = partial(self._runs.count, states=states, workflow=workflow, labels=labels, since=since, before=before)
        asked = partial(asked, roots=roots, parent=parent, version=version, key=key, key_prefix=key_prefix)
        return self._portal.call(partial(asked, error=error, worker=worker, priority=priority))

    def count_matching(self, wanted: RunFilter, /) -> RunCount:
        """Return how many runs a filter means; as `Runs.count_matching`."""
        return self._portal.call(self._runs.count_matching, wanted)

    def history(self, run_id: str) -> Iterator[HistoryEntry]:
        """Yield the run's story from its birth. Raises NotFound."""
        return walk(self._portal, self._runs.history(run_id))

    def input(self, run_id: str) -> Any:
        """Return the payload of the run's generation. Raises NotFound."""
        return self._portal.call(self._runs.input, run_id)

    def export(
        self, runs: Iterable[str] | RunFilter, /, *, limit: int | None = None, history: bool = False
    ) -> Iterator[Recording]:
        """Yield runs as they are recorded, with all that a replay needs; as `Runs.export`."""
        return walk(self._portal, self._runs.export(runs, limit=limit, history=history))

    def import_run(self, recording: Recording, /, *, actor: str | None = None) -> ImportOutcome:
        """Import a run that was exported elsewhere, to be looked at here; as `Runs.import_run`."""
        return self._portal.call(partial(self._runs.import_run, recording, actor=actor))

    def matching(
        self, wanted: RunFilter, /, *, limit: int | None = None, per_second: float | None = None
    ) -> Iterator[Sequence[str]]:
        """Yield the ids of the runs that a filter means, some at a time; as `Runs.matching`."""
        return walk(self._portal, self._runs.matching(wanted, limit=limit, per_second=per_second))

    def pause(self, run_id: str, *, reason: str | None = None, actor: str | None = None) -> RunStatus:
        """Hold a run until it is resumed; as `Runs.pause`."""
        return self._portal.call(partial(self._runs.pause, run_id, reason=reason, actor=actor))

    def pause_batch(
        self, runs: Iterable[str] | RunFilter, *, reason: str | None = None, actor: str | None = None
    ) -> Sequence[RunStatus | AikiError]:
        """Hold many runs; as `Runs.pause_batch`."""
        return self._portal.call(partial(self._runs.pause_batch, runs, reason=reason, actor=actor))

    def cancel(
        self, run_id: str, *, reason: str | None = None, actor: str | None = None, force: bool = False
    ) -> RunStatus:
        """Cancel a run; as `Runs.cancel`."""
        return self._portal.call(partial(self._runs.cancel, run_id, reason=reason, actor=actor, force=force))

    def cancel_batch(
        self,
        runs: Iterable[str] | RunFilter,
        *,
        reason: str | None = None,
        actor: str | None = None,
        force: bool = False,
    ) -> Sequence[RunStatus | AikiError]:
        """Cancel many runs; as `Runs.cancel_batch`."""
        return self._portal.call(partial(self._runs.cancel_batch, runs, reason=reason, actor=actor, force=force))

    def wake(self, run_id: str, *, actor: str | None = None) -> RunStatus:
        """End a run's sleep; as `Runs.wake`."""
        return self._portal.call(partial(self._runs.wake, run_id, actor=actor))

    def wake_batch(
        self, runs: Iterable[str] | RunFilter, *, actor: str | None = None
    ) -> Sequence[RunStatus | AikiError]:
        """End the sleeps of many runs; as `Runs.wake_batch`."""
        return self._portal.call(partial(self._runs.wake_batch, runs, actor=actor))

    def resume(self, run_id: str, *, actor: str | None = None) -> RunStatus:
        """Let a run go on; as `Runs.resume`."""
        return self._portal.call(partial(self._runs.resume, run_id, actor=actor))

    def move(
        self, run_id: str, version: str, *, keep_blocked: bool = False, force: bool = False, actor: str | None = None
    ) -> RunStatus:
        """Have another version carry out a run; as `Runs.move`."""
        move = partial(self._runs.move, run_id, version, keep_blocked=keep_blocked, force=force, actor=actor)
        return self._portal.call(move)

    def move_batch(
        self,
        runs: Iterable[str] | RunFilter,
        version: str,
        *,
        claims: Mapping[str, int] | None = None,
        keep_blocked: bool = False,
        force: bool = False,
        limit: int | None = None,
        actor: str | None = None,
    ) -> Sequence[RunStatus | AikiError]:
        """Have another version carry out many runs; as `Runs.move_batch`."""
        move = partial(self._runs.move_batch, runs, version, claims=claims, keep_blocked=keep_blocked, force=force)
        return self._portal.call(partial(move, limit=limit, actor=actor))

    def retry(
        self,
        run_id: str,
        *,
        from_task: str | None = None,
        from_start: bool = False,
        input: Call[Any] | Mapping[str, Any] | None = None,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
        actor: str | None = None,
    ) -> RunStatus:
        """Have a run that failed or was cancelled go on in a new one; as `Runs.retry`."""
        asked = partial(self._runs.retry, run_id, from_task=from_task, from_start=from_start, input=input, actor=actor)
        return self._portal.call(partial(asked, keep=keep, again=again, force=force))

    def retry_batch(
        self,
        runs: Iterable[str] | RunFilter,
        *,
        from_task: str | None = None,
        from_start: bool = False,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
        limit: int | None = None,
        per_second: float | None = None,
        actor: str | None = None,
    ) -> Sequence[RunStatus | AikiError]:
        """Retry many runs; as `Runs.retry_batch`."""
        asked = partial(self._runs.retry_batch, runs, from_task=from_task, from_start=from_start, actor=actor)
        paced = partial(asked, limit=limit, per_second=per_second)
        return self._portal.call(partial(paced, keep=keep, again=again, force=force))

    @overload
    def send(
        self, run_ids: Iterable[str], event: Event[None], /, *, idempotency_key: str | None = None
    ) -> Sequence[SendOutcome]: ...
    @overload
    def send(
        self, run_ids: Iterable[str], event: Event[V], value: V, /, *, idempotency_key: str | None = None
    ) -> Sequence[SendOutcome]: ...
    @overload
    def send(
        self, run_ids: Iterable[str], event: str, value: Any = None, /, *, idempotency_key: str | None = None
    ) -> Sequence[SendOutcome]: ...
    def send(
        self,
        run_ids: Iterable[str],
        event: Event[Any] | str,
        value: Any = None,
        /,
        *,
        idempotency_key: str | None = None,
    ) -> Sequence[SendOutcome]:
        """Send many runs an event, and return what became of each; as `Runs.send`."""
        return self._portal.call(partial(self._runs.send, run_ids, event, value, idempotency_key=idempotency_key))

    def resume_batch(
        self, runs: Iterable[str] | RunFilter, *, actor: str | None = None
    ) -> Sequence[RunStatus | AikiError]:
        """Let many runs go on; as `Runs.resume_batch`."""
        return self._portal.call(partial(self._runs.resume_batch, runs, actor=actor))

    def check_event(self, wanted: RunFilter, event: str, value: Any = None, /) -> None:
        """Raise PayloadError if an event does not fit one of the runs that are meant; as `Runs.check_event`."""
        self._portal.call(self._runs.check_event, wanted, event, value)

    def find(self, reference: str) -> str:
        """Return the id of the run that is meant; as `Runs.find`."""
        return self._portal.call(self._runs.find, reference)

    def delete(
        self,
        runs: Iterable[str] | RunFilter,
        *,
        forget_keys: bool = False,
        limit: int | None = None,
        per_second: float | None = None,
        preview: bool = False,
        actor: str | None = None,
    ) -> Sequence[DeletedRun | AikiError]:
        """Delete runs that have ended, each with its retries and what these have started; as `Runs.delete`."""
        asked = partial(self._runs.delete, runs, forget_keys=forget_keys, preview=preview, actor=actor)
        return self._portal.call(partial(asked, limit=limit, per_second=per_second))

    def storage(self) -> StorageUse:
        """Return how much the tables take up, and which workflows' runs; as `Runs.storage`."""
        return self._portal.call(self._runs.storage)

    def summary(self) -> NamespaceSummary:
        """Return the namespace at a glance; as `Runs.summary`."""
        return self._portal.call(self._runs.summary)


class BlockingWorkflows:
    """The workflows that workers have registered in the client's namespace; as `RegisteredWorkflows`."""

    def __init__(self, portal: Portal[AsyncClient]) -> None:
        self._portal = portal

    @property
    def _workflows(self) -> RegisteredWorkflows:
        return self._portal.client.workflows

    def list(self, name: str | None = None, *, standing: bool = True) -> list[WorkflowInfo]:
        """Return all versions of all workflows, or of one; as `RegisteredWorkflows.list`."""
        return self._portal.call(partial(self._workflows.list, name, standing=standing))


class BlockingWorkers:
    """The workers that live in the client's namespace; as `LiveWorkers`."""

    def __init__(self, portal: Portal[AsyncClient]) -> None:
        self._portal = portal

    def list(self) -> Sequence[WorkerInfo]:
        """Return the live workers by name."""
        return self._portal.call(self._portal.client.workers.list)


class BlockingRetention:
    """How long ended runs are kept in the client's namespace; as `RetentionPolicies`."""

    def __init__(self, portal: Portal[AsyncClient]) -> None:
        self._portal = portal

    def apply(
        self,
        project: str,
        declared: Mapping[str, Retention | Periods],
        /,
        *,
        prune: bool = False,
        dry_run: bool = False,
    ) -> Plan:
        """Have the policies of a project be just these; as `RetentionPolicies.apply`."""
        policies = self._portal.client.retention
        return self._portal.call(partial(policies.apply, project, declared, prune=prune, dry_run=dry_run))

    def list(self) -> Sequence[RetentionPolicy]:
        """Return what projects say, by workflow, and last what the daemon does with all else."""
        return self._portal.call(self._portal.client.retention.list)


class BlockingClient(Generic[Client_co]):
    """A `Client` whose methods block. It may be used in threads and, made before a fork, in the fork as well."""

    def __init__(self, portal: Portal[Client_co]) -> None:
        self.runs = BlockingRuns(portal)
        self.workflows = BlockingWorkflows(portal)
        self.workers = BlockingWorkers(portal)
        self._portal = portal

    @property
    def aio(self) -> Client_co:
        """The async client of this process, for code on the portal's loop."""
        return self._portal.client

    @property
    def schedules(self) -> BlockingSchedules:
        """The schedules of the namespace."""
        from aiki.client.blocking_schedules import BlockingSchedules

        return BlockingSchedules(self._portal)

    @property
    def retention(self) -> BlockingRetention:
        """How long ended runs are kept in the namespace."""
        return BlockingRetention(self._portal)

    @overload
    def enqueue(self, call: Call[R], /) -> BlockingHandle[R]: ...
    @overload
    def enqueue(
        self, workflow: str, payload: Mapping[str, Any] | None = None, /, **options: Any
    ) -> BlockingHandle[Any]: ...
    def enqueue(self, call: Any, payload: Mapping[str, Any] | None = None, /, **options: Any) -> BlockingHandle[Any]:
        """Enqueue one run; as `Client.enqueue`."""
        return BlockingHandle(self._portal.call(partial(self.aio.enqueue, call, payload, **options)), self._portal)

    def enqueue_many(self, calls: Iterable[Call[R]], /) -> list[BlockingHandle[R]]:
        """Enqueue many runs in few commits; as `Client.enqueue_many`."""
        return [
            BlockingHandle(handle, self._portal) for handle in self._portal.call(self.aio.enqueue_many, list(calls))
        ]

    def enqueue_batch(self, calls: Iterable[Call[Any] | NamedCall], /) -> list[BlockingHandle[Any] | AikiError]:
        """Enqueue many runs and return a handle or a refusal for each; as `Client.enqueue_batch`."""
        return [
            BlockingHandle(outcome, self._portal) if isinstance(outcome, Handle) else outcome
            for outcome in self._portal.call(self.aio.enqueue_batch, list(calls))
        ]

    def handle(self, run_id: str, /, *, result: Result | None = None) -> BlockingHandle[Any]:
        """Return a handle of a run by its id; nobody is asked."""
        return BlockingHandle(self.aio.handle(run_id, result=result), self._portal)


@contextmanager
def connect(opening: Connect[Client_co]) -> Generator[BlockingClient[Client_co], None, None]:
    """Connect as `opening` does on a thread of its own, and close both at the end of the block."""
    portal = Portal(opening)
    try:
        yield BlockingClient(portal)
    finally:
        portal.close()
