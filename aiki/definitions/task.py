"""Own `@task`: a durable step, which is a function, how it is retried, and how its input and result are stored."""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar, Final, Generic, Literal, ParamSpec, Protocol, Self, TypeVar, get_args, overload

from aiki.core.duration import Duration, to_seconds
from aiki.core.errors import UsageError
from aiki.core.frames import place
from aiki.core.keys import TASK
from aiki.core.retry import DEFAULT_RETRY, Retry
from aiki.definitions.arguments import RecordArguments, checked_record
from aiki.definitions.options import checked_key
from aiki.definitions.own_retry import checked_retry
from aiki.inside.durable import Ask
from aiki.inside.workflow_run import WorkflowRun, current_body
from aiki.payload import Parameters, Result
from aiki.payload.annotations import Scope, local_scope
from aiki.wire.subjects import is_token

P = ParamSpec("P")
R = TypeVar("R")
Executor = Literal["thread", "process"]
IdempotencyScope = Literal["run", "workflow", "namespace"]
"""Which calls with one idempotency key are one: those of a run, of all runs of a workflow, or of a namespace."""
CANCEL_GRACE: Final = "10s"
RETENTION: Final = "30d"

_UNCHANGED: Final[Any] = object()
_RETENTION_SECONDS_MOST: Final = 10 * 365 * 86_400
_IMMUTABLE: Final = frozenset({str, int, float, bool, bytes, type(None)})


class Task(Generic[P, R]):
    """A durable step. `.run(run, ...)` in a workflow's body; called directly it is the plain function."""

    is_async: bool

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str,
        retry: Retry,
        timeout: float | None,
        total_timeout: float | None,
        cancel_grace: float,
        executor: Executor,
        at_most_once: bool,
        scope: Scope = None,
    ) -> None:
        owner = f"task {name!r}"
        self.fn = fn
        self.name = name
        self.retry = retry
        self.timeout = timeout
        """Seconds that one attempt may take."""
        self.total_timeout = total_timeout
        """Seconds that all attempts together may take."""
        self.heartbeat_timeout: float | None = None
        """Seconds after which an attempt that gives no sign of life is cut off."""
        self.cancel_grace = cancel_grace
        """Seconds that an attempt which is to end has for it."""
        self.executor: Executor = executor
        """Where a plain `def` runs; an `async def` runs on the worker's loop."""
        self.at_most_once = at_most_once
        self.idempotency_key: str | None = None
        self.idempotency_scope: IdempotencyScope = "run"
        self.idempotency_retention = to_seconds(RETENTION)
        """Seconds for which a result stands that other runs share."""
        self.record_arguments: RecordArguments | None = None
        """How much of what it is called with is put on record; None: as its workflow says."""
        self.parameters = Parameters.of(fn, owner=owner, scope=scope, exact=True)
        self.result = Result.of(fn, owner=owner, scope=scope)
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    # `async def`, not `-> Coroutine[Any, Any, R]`: with that mypy types gather() of two as Future[Any].
    async def run(self, run: WorkflowRun, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the task durably and return its result, which is recorded once.

        Raises TaskFailed in the workflow when the task gave up, TaskOutcomeUnknown if it is `at_most_once` and its
        worker died in it, Conflict if its idempotency key was used in this run with another input, UsageError outside
        of the body that `run` belongs to.
        """
        try:
            body = run._body  # noqa: SLF001 - the execution behind the public run
        except AttributeError:
            raise self._without_run(run) from None
        return await body.ask(TaskAsk(self, args, kwargs))

    def options(
        self,
        *,
        idempotency_key: str | None = _UNCHANGED,
        idempotency_scope: IdempotencyScope = _UNCHANGED,
        idempotency_retention: Duration = _UNCHANGED,
        retry: Retry = _UNCHANGED,
        timeout: Duration | None = _UNCHANGED,
        total_timeout: Duration | None = _UNCHANGED,
        heartbeat_timeout: Duration | None = _UNCHANGED,
        cancel_grace: Duration = _UNCHANGED,
        record_arguments: RecordArguments | None = _UNCHANGED,
    ) -> Self:
        """Return the same task with options set. Raises UsageError on values that make no sense.

        Calls of one run with the same `idempotency_key` share one execution; with a wider `idempotency_scope`, those
        of other runs, too. The others are those of `@task`.
        """
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        if idempotency_key is not _UNCHANGED:
            made.idempotency_key = checked_key(idempotency_key)
        if idempotency_scope is not _UNCHANGED:
            made.idempotency_scope = _checked_scope(made, idempotency_scope)
        if idempotency_retention is not _UNCHANGED:
            made.idempotency_retention = _retention_seconds(idempotency_retention)
        if retry is not _UNCHANGED:
            made.retry = checked_retry(retry)
        if timeout is not _UNCHANGED:
            made.timeout = _positive_seconds("timeout", timeout)
        if total_timeout is not _UNCHANGED:
            made.total_timeout = _positive_seconds("total_timeout", total_timeout)
        if heartbeat_timeout is not _UNCHANGED:
            made.heartbeat_timeout = _heartbeat_seconds(made, heartbeat_timeout)
        if cancel_grace is not _UNCHANGED:
            made.cancel_grace = to_seconds(cancel_grace)
        if record_arguments is not _UNCHANGED:
            made.record_arguments = None if record_arguments is None else checked_record(record_arguments)
        return made

    def _without_run(self, given: object) -> UsageError:
        name = getattr(self.fn, "__name__", self.name)
        return UsageError(
            f"task {self.name!r} was given {described(given)} where the workflow's run belongs, as the first argument",
            hint=f"await {name}.run(run, ...)   # `run` is the first parameter of the workflow's function",
        )

    def _refuse_in_body(self) -> None:
        if current_body() is not None:
            raise UsageError(
                f"task {self.name!r} was called directly in a workflow: its result would not be durable",
                hint=f"await {getattr(self.fn, '__name__', self.name)}.run(run, ...)",
            )


# A call without any argument is refused in our own words, too. Type checkers read the signature above.
vars(Task)["run"].__defaults__ = (None,)


class TaskAsk(Ask[Awaitable[R]]):
    """A call of a task: what it was given, and what each of its tries gets of that."""

    kind: ClassVar[str] = TASK
    task: Task[..., R]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    _encoded: bytes | None = None
    _copy: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """The first try's arguments: encoding them has made a copy that nobody else holds."""
    _lowered: dict[str, Any] | None = None
    """What their form was made of, from there to `keep`, in which they are encoded."""

    def __str__(self) -> str:
        return f"{self.task.name}.run()"

    def form(self) -> bytes:
        """Return what the task is called with, in canonical form. Raises PayloadError if it does not fit."""
        form, self._lowered = self.task.parameters.canonical_and_lowered(self.args, self.kwargs)
        return form

    def keep(self) -> None:
        """Keep what the task is to be called with as it is now: the body may change its objects later."""
        lowered, self._lowered = self._lowered, None
        if not _are_immutable(self.args) or (self.kwargs and not _are_immutable(self.kwargs.values())):
            self._encoded, self._copy = self.task.parameters.encode_and_copy(self.args, self.kwargs, lowered)
            self.args, self.kwargs = (), {}

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments for one try: its own copy, so that no try sees what another did to them."""
        if self._encoded is None:
            return self.args, self.kwargs
        if self._copy is not None:
            copy, self._copy = self._copy, None
            return copy
        return self.task.parameters.decode(self._encoded)

    def encoded_arguments(self) -> bytes:
        """Return the arguments as one JSON object."""
        if self._encoded is None:
            self._encoded = self.task.parameters.encode(self.args, self.kwargs)
        return self._encoded


class AsyncTask(Task[P, R]):
    """A task written as `async def`."""

    is_async = True

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function. Raises UsageError inside a workflow's body."""
        self._refuse_in_body()
        result: R = await self.fn(*args, **kwargs)
        return result


class SyncTask(Task[P, R]):
    """A task written as a plain `def`; it runs in a thread, or a process."""

    is_async = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function. Raises UsageError inside a workflow's body."""
        self._refuse_in_body()
        result: R = self.fn(*args, **kwargs)
        return result


class TaskDecorator(Protocol):
    """What `task(...)` with options returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncTask[P, R]: ...


@overload
def task(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
@overload
def task(fn: Callable[P, R], /) -> SyncTask[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    retry: Retry = DEFAULT_RETRY,
    timeout: Duration | None = None,
    total_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    cancel_grace: Duration = CANCEL_GRACE,
    executor: Executor = "thread",
    at_most_once: bool = False,
    idempotency_scope: IdempotencyScope = "run",
    idempotency_retention: Duration = RETENTION,
    record_arguments: RecordArguments | None = None,
) -> TaskDecorator: ...
def task(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    retry: Retry = DEFAULT_RETRY,
    timeout: Duration | None = None,
    total_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    cancel_grace: Duration = CANCEL_GRACE,
    executor: Executor = "thread",
    at_most_once: bool = False,
    idempotency_scope: IdempotencyScope = "run",
    idempotency_retention: Duration = RETENTION,
    record_arguments: RecordArguments | None = None,
) -> Any:
    """Make a durable task of a function, as `@task` or `@task(...)`.

    `name` stands in journals: changing it diverges runs in flight. `timeout` bounds one attempt, `total_timeout` all of
    them together with the waits between. `executor="process"` is for a plain `def` that holds the GIL or must be
    killable.

    With `heartbeat_timeout` an attempt that has not called `task_run().heartbeat()` for so long is cut off and counts
    as failed; a function in a thread cannot be cut off, and has none. Time in which its worker was held up or cut off
    is not counted. `cancel_grace` is how long an attempt that is to end, at a timeout or because nobody waits for it
    any more, has for it: a coroutine from its CancelledError on; a process from the SIGTERM that raises TaskCancelled
    in its main thread, until it is killed, unless it has timed out: then it is killed at once.

    The start of an `at_most_once` task goes on record right before its body begins, and it is never begun again. If
    its worker dies or loses its lease from there on, nobody can tell how far it came, or whether it came to begin at
    all: its caller gets TaskOutcomeUnknown. What its worker still knows not to have begun (it drained, or the lease
    was uncertain for a while) is taken back and begun later.

    With `idempotency_scope="workflow"` or `"namespace"` each call needs `.options(idempotency_key=...)`, and all calls
    of the task with one key and the same input have one result, in whichever runs they are: of that workflow, or of the
    namespace. One of them is tried, the others wait without a worker. Should its run fail in it, be cancelled, held or
    lost, the next one goes on, with the same `task_run().idempotency_key`. Another input is a Conflict. The result
    stands for `idempotency_retention` (10 years at most); after that the key begins anew.

    `record_arguments` is how much of what it is called with its run's history shows: the first 256 bytes (`"preview"`),
    all (`"full"`), or nothing (`"none"`), as for secrets. Without it its workflow says so.

    Raises UsageError if the function's signature cannot be stored (the message names the parameter), if the name is not
    made of 1 to 64 letters, digits, `_` and `-`, or if an option makes no sense.
    """

    def decorate(function: Callable[..., Any]) -> Task[Any, Any]:
        made_name = checked_name("task", function, name)
        kind = AsyncTask if inspect.iscoroutinefunction(function) else SyncTask
        if executor not in ("thread", "process") or (kind is AsyncTask and executor == "process"):
            raise UsageError(f"task {made_name!r}: executor={executor!r} is for plain `def` tasks: thread or process")
        made: Task[Any, Any] = kind(
            function,
            name=made_name,
            retry=checked_retry(retry),
            timeout=_positive_seconds("timeout", timeout),
            total_timeout=_positive_seconds("total_timeout", total_timeout),
            cancel_grace=to_seconds(cancel_grace),
            executor=executor,
            at_most_once=at_most_once,
            scope=scope,
        )
        made.heartbeat_timeout = _heartbeat_seconds(made, heartbeat_timeout)
        made.idempotency_scope = _checked_scope(made, idempotency_scope)
        made.idempotency_retention = _retention_seconds(idempotency_retention)
        made.record_arguments = None if record_arguments is None else checked_record(record_arguments)
        return made

    scope = local_scope(1)
    return decorate if fn is None else decorate(fn)


def checked_name(kind: str, fn: Any, name: Any) -> str:
    """Return the name of a task or workflow. Raises UsageError if `fn` is no plain function or the name is no token."""
    if not isinstance(fn, types.FunctionType):
        raise UsageError(f"@{kind} needs a function, not {fn!r}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise UsageError(f"@{kind} cannot be used on the generator {place(fn)}: return a list")
    made = fn.__name__ if name is None else name
    if not isinstance(made, str) or not is_token(made):
        raise UsageError(f"{made!r} cannot name {kind} {place(fn)}: use 1 to 64 of A-Z a-z 0-9 _ -")
    return made


def _are_immutable(values: Iterable[Any]) -> bool:
    for value in values:  # noqa: SIM110 - a generator costs more than the loop, and this is on the hot path
        if type(value) not in _IMMUTABLE:
            return False
    return True


def described(given: object) -> str:
    """Return what stands where a run belongs, for a message."""
    return "nothing" if given is None else f"a value of type {type(given).__name__}"


def _positive_seconds(option: str, value: Duration | None) -> float | None:
    if value is None:
        return None
    seconds = to_seconds(value)
    if seconds <= 0:
        raise UsageError(f"{option}={value!r}: it must be longer than nothing (None for no limit)")
    return seconds


def _checked_scope(made: Task[Any, Any], scope: Any) -> IdempotencyScope:
    if scope not in get_args(IdempotencyScope):
        raise UsageError(f'idempotency_scope={scope!r}: it must be "run", "workflow" or "namespace"')
    if scope != "run" and made.at_most_once:
        raise UsageError(
            f"task {made.name!r}: at_most_once does not go with idempotency_scope={scope!r}: whoever has the key next"
            " could not know that it was begun before",
            hint='idempotency_scope="run", or a task that may begin again under the same task_run().idempotency_key',
        )
    checked: IdempotencyScope = scope
    return checked


def _retention_seconds(value: Duration) -> float:
    seconds = to_seconds(value)
    if not 0 < seconds <= _RETENTION_SECONDS_MOST:
        raise UsageError(f"idempotency_retention={value!r}: it must be longer than nothing, and 10 years at most")
    return seconds


def _heartbeat_seconds(made: Task[Any, Any], value: Duration | None) -> float | None:
    if value is not None and not made.is_async and made.executor == "thread":
        raise UsageError(
            f"task {made.name!r}: heartbeat_timeout={value!r} is for what can be cut off, and a thread cannot",
            hint='@task(executor="process", heartbeat_timeout=...), or an `async def`',
        )
    return _positive_seconds("heartbeat_timeout", value)
