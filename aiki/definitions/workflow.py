"""Own `@workflow`: a definition that is enqueued outside and executed by a worker, with the options of its next run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import wraps
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    cast,
    overload,
)

from aiki.core.canonical import digest
from aiki.core.duration import Duration
from aiki.core.errors import UsageError
from aiki.core.frames import place
from aiki.core.retention import NOTHING, Periods, Retention, read
from aiki.core.retry import NO_RETRY, Retry
from aiki.definitions.arguments import RecordArguments, checked_record
from aiki.definitions.call import Call
from aiki.definitions.options import (
    NO_OPTIONS,
    UNCHANGED,
    HasOptions,
    ParentClose,
    RunOptions,
    checked_version,
    timeouts,
)
from aiki.definitions.own_retry import RetryFrom, checked_from, checked_retry
from aiki.definitions.task import checked_name, described
from aiki.inside.child import Child
from aiki.inside.event import Event
from aiki.inside.kin import Start
from aiki.inside.onward import Next
from aiki.inside.workflow_run import WorkflowRun
from aiki.payload import Parameters, Result
from aiki.payload.annotations import Scope, Unresolved, hints, local_scope, signature

if TYPE_CHECKING:
    from aiki.definitions.enqueuer import Enqueuer
    from aiki.definitions.handle import Handle

P = ParamSpec("P")
R = TypeVar("R")
Method = TypeVar("Method", bound=Callable[..., Any])

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _of_a_client(method: Method) -> Method:
    """Refuse any other client in the call itself: code that blocks would never await the coroutine to be told so."""

    @wraps(method)
    def checked(self: Workflow[..., Any], client: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not _takes_calls(client):
            what = f"workflow {self.name!r}: `{method.__name__}` takes a Client, not a {type(client).__name__}"
            blocking = {"enqueue": "client.enqueue(workflow.bind(...))", "handle": "client.handle(run_id)"}
            raise UsageError(what, hint=f"a blocking client: {blocking[method.__name__]}")
        return method(self, client, *args, **kwargs)

    return cast("Method", checked)


def _takes_calls(client: Any) -> bool:
    """Tell whether it is a client whose `enqueue` is awaited, of whatever class."""
    kind = type(client)
    return inspect.iscoroutinefunction(getattr(kind, "enqueue", None)) and hasattr(kind, "handle")


class Workflow(HasOptions, Generic[P, R]):
    """A workflow's definition. It cannot be called: `.enqueue(client, ...)` it, or in another's body `.run` it."""

    parent_close: ParentClose = "cancel"
    """What becomes of a child when its parent ends."""
    record_arguments: RecordArguments = "preview"
    """How much is put on record of what its tasks and children are called with, unless a task says so itself."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str,
        version: str,
        events: Sequence[Event[Any]] | None = None,
        declared: RunOptions = NO_OPTIONS,
        retry: Retry = NO_RETRY,
        retry_from: RetryFrom = "failure",
        retention: Periods = NOTHING,
        scope: Scope = None,
    ) -> None:
        owner = f"workflow {name!r}"
        self.fn = fn
        self.name = name
        self.version = version
        self.events = None if events is None else tuple(events)
        """The events that its runs take; None if they take any."""
        self.parameters = Parameters.of(fn, skip=1, owner=owner, scope=scope)
        self.result = Result.of(fn, owner=owner, scope=scope)
        self.declared = declared
        """The options that its runs have if nobody says otherwise."""
        self.run_options = declared
        self.retry = retry
        """When a run is tried again whose body has failed, if its options do not say otherwise."""
        self.retry_from: RetryFrom = retry_from
        self.retention = retention
        """How long its ended runs are kept, if no applied manifest says otherwise of it."""
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    def __repr__(self) -> str:
        return f"<workflow {self.name} {self.version}>"

    if not TYPE_CHECKING:  # to type checkers it is no function

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Refuse the call: raises UsageError."""
            raise UsageError(
                f"workflow {self.name!r} was called like a function, which would run it without making it durable",
                hint=f"await {self._called}.enqueue(client, ...)   # in the body of another: .run(run, ...)",
            )

    def declare(self, options: RunOptions) -> None:
        """Let its runs have these options where nobody says otherwise, in place of those that it declares."""
        if self.run_options == self.declared:
            self.run_options = options
        self.declared = options

    def _with(self, options: RunOptions, version: str, parent_close: ParentClose) -> Self:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.run_options = options
        if version is not UNCHANGED:
            made.version = checked_version(self.name, version)
        if parent_close is not UNCHANGED:
            made.parent_close = parent_close
        return made

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Return a call of this workflow, to be enqueued with others by `client.enqueue_many`.

        Raises UsageError if the arguments do not match the signature, PayloadError with the JSON path if one does not
        fit its annotation or the payload its limits.
        """
        keyed = self.run_options.key is not None
        return Call(
            self.name,
            self.version,
            self.parameters.encode(args, kwargs),
            digest=digest(self.parameters.canonical(args, kwargs)) if keyed else None,
            options=self.run_options,
            result=self.result,
        )

    # `async def`, as a task's `run`.
    async def start(self, run: WorkflowRun, /, *args: P.args, **kwargs: P.kwargs) -> Child[R]:
        """Start a child in the body of another workflow, durably and once, and return the hold on it.

        Its id is known at once, and it is there as soon as the body waits for anything, or ends. With an
        `idempotency_key` this waits until it is known whose the key is: a run that exists is found, its end is seen,
        and it is not cancelled with this one. Raises Conflict if the key was used with another input, UsageError
        outside of the body that `run` belongs to, and as `bind`.
        """
        try:
            body, sender = run._body, (run.origin_id, run.generation, run.attempt)  # noqa: SLF001 - what is behind it
        except AttributeError:
            raise self._without_run(run) from None
        return Child(body, await body.ask(self._start(args, kwargs, sender)), sender[:2], self.result)

    async def run(self, run: WorkflowRun, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Start a child and wait for its result. Raises as `start`, and as the child's `result`.

        If the wait is given up, the child goes on; `start` gives a hold on it.
        """
        child = await self.start(run, *args, **kwargs)
        return await child.result()

    def _start(self, args: Any, kwargs: Any, sender: tuple[str, int, int]) -> Start:
        options = self.run_options
        if options.send is not None:
            raise UsageError(
                f"workflow {self.name!r}: send= is for `enqueue`; a child is sent an event by its parent",
                hint=f"child = await {self._called}.start(run, ...); await child.send(event, value)",
            )
        form = self.parameters.canonical(args, kwargs)
        input = self.parameters.encode(args, kwargs)
        return Start(self.name, self.version, input, form, digest(form), options, self.parent_close, sender)

    def _without_run(self, given: object) -> UsageError:
        return UsageError(
            f"workflow {self.name!r} was given {described(given)} where the run of its parent belongs, first",
            hint=f"await {self._called}.run(run, ...)   # outside of bodies: {self._called}.enqueue(client, ...)",
        )

    @property
    def _called(self) -> str:
        return getattr(self.fn, "__name__", self.name)

    @_of_a_client
    async def enqueue(self, client: Enqueuer, /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Enqueue one run; it is stored when this returns. Raises as `bind`, and as the client's `enqueue`."""
        return await client.enqueue(self.bind(*args, **kwargs))

    def continue_as_new(self, run: WorkflowRun, /, *args: P.args, **kwargs: P.kwargs) -> NoReturn:
        """End the body here, and let the run go on from its first line with these arguments and an empty journal.

        So a loop can run for years. It is the same run in its next generation: its id, key, labels, priority, timeout
        and whoever waits for it stay, as do the events that it has not taken, a cancel that it has not heard of, and
        its children, whose ends it hears of no more. Nothing needs to be returned or awaited; from a branch of the body
        (`gather`, a TaskGroup) it ends the whole. On the way `finally` blocks run, with tasks in them, as at any end;
        what goes wrong there fails the run. `.options(version=...)` hands it to the workers of another version.

        Raises UsageError in a `finally`, in a run that was cancelled, for a run of another workflow, and with the names
        of what the body has asked for and not awaited; PayloadError as `bind`.
        """
        _check_continues(self, run)
        version = None if self.version == run.version else self.version
        called = f"{getattr(self.fn, '__name__', self.name)}.continue_as_new()"
        body = run._body  # noqa: SLF001 - the execution behind the public run
        body.go_on(Next(self.parameters.encode(args, kwargs), version, called))

    @_of_a_client
    def handle(self, client: Enqueuer, run_id: str, /) -> Handle[R]:
        """Return a typed handle of a run of this workflow, by its id. It asks nobody."""
        handle: Handle[R] = client.handle(run_id, result=self.result)
        return handle


def _check_continues(workflow: Workflow[..., Any], run: Any) -> None:
    """Raise UsageError if the workflow is none that this run could go on as."""
    name = getattr(workflow.fn, "__name__", workflow.name)
    if not isinstance(run, WorkflowRun):
        raise UsageError(
            f"workflow {workflow.name!r}: `continue_as_new` takes the run, not a {type(run).__name__}",
            hint=f"{name}.continue_as_new(run, ...)   # `run` is the first parameter of the workflow's function",
        )
    if run.workflow != workflow.name:
        raise UsageError(
            f"a run of workflow {run.workflow!r} cannot go on as {workflow.name!r}: it is the same run under the same"
            " key, and those who wait for its result expect that of its own workflow",
            hint=f"return await {name}.run(run, ...)   # as a child of this run",
        )
    if workflow.run_options != workflow.declared:
        raise UsageError(
            f"workflow {workflow.name!r}: of all options only `version` can change from one generation to the next; the"
            " key, priority, labels and timeout of the run stay",
            hint=f"{name}.options(version=...).continue_as_new(run, ...)",
        )


class WorkflowDecorator(Protocol):
    """What `workflow(...)` with options returns."""

    def __call__(self, fn: Callable[Concatenate[WorkflowRun, P], Coroutine[Any, Any, R]], /) -> Workflow[P, R]:
        """Make a workflow of the function."""
        ...


@overload
def workflow(fn: Callable[Concatenate[WorkflowRun, P], Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    version: str = "1",
    events: Sequence[Event[Any]] | None = None,
    timeout: Duration | None = None,
    cancel_timeout: Duration | None = None,
    retry: Retry = NO_RETRY,
    retry_from: RetryFrom = "failure",
    record_arguments: RecordArguments = "preview",
    retention: Retention | None = None,
) -> WorkflowDecorator: ...
def workflow(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    events: Sequence[Event[Any]] | None = None,
    timeout: Duration | None = None,
    cancel_timeout: Duration | None = None,
    retry: Retry = NO_RETRY,
    retry_from: RetryFrom = "failure",
    record_arguments: RecordArguments = "preview",
    retention: Retention | None = None,
) -> Any:
    """Make a workflow of an `async def` whose first parameter is the WorkflowRun, as `@workflow` or `@workflow(...)`.

    After a crash its body runs again from its first line, and must go the same way. Sets of tasks and of what asyncio
    and anyio make in a body iterate alike each time, `asyncio.as_completed` takes a list, and sets of text iterate
    alike where PYTHONHASHSEED is 0, as under `aiki worker`. Do not let the way hang on the order of a set of other
    objects (theirs is by memory address, unless they define `__hash__`), of coroutines, of bare `asyncio.Future()`,
    or of `asyncio.all_tasks()`: use a list or a dict.

    I/O belongs into tasks. In a body asyncio's is refused. `open()`, sockets, processes and SQLite are told with their
    line, in the worker's log and in the run's history, as a call that is never awaited and a branch whose failure
    nobody sees are. Of clocks, random numbers and the environment, by their usual names, a worker warns when it opens
    (`BodyWarning`; `# aiki: allow` on the line silences it). Nobody is told of reading and writing what is open
    already, of `os.stat()`, nor of drivers in C: nothing of these repeats on replay.

    A run belongs to the name and version it was enqueued with, until it goes on by another version itself
    (`continue_as_new`); workers serve the versions they have.
    With `events` its runs take these alone: another name is refused where it is sent. Without, they take any.
    `timeout` and `cancel_timeout` are those of its runs, if the manifest and `.options(...)` do not say otherwise; so
    are `retry` and `retry_from`, by which a run is tried again when its body fails: it is `retrying` until then, and
    whoever waits for it waits on. From the failure it goes on with the call that failed the body, so there has to be
    one; not if tasks or children were completed since, which took back or went on from what would be done again. From
    the start all of it is done again, under other idempotency keys. `raise Fatal(...)` ends it, `raise RetryAfter(...)`
    says when to go on; `run.attempt` counts.
    `record_arguments` is how much of what its tasks and children are called with its history shows: the first 256 bytes
    (`"preview"`), all (`"full"`, of children the same preview), or nothing (`"none"`); tasks may say otherwise.
    `retention` says how long its runs are kept after their end: "30d", or by state {"completed": "30d", "failed":
    "keep"}; a manifest that is applied comes before it.
    Raises UsageError if the function's signature cannot be stored (the message names the parameter), the name is not
    made of 1 to 64 letters, digits, `_` and `-`, the version is no text of 1 to 32 of letters, digits, `_ . + -`, two
    of the events have one name, a timeout is no duration, a retry is none, or runs are to be kept for no time.
    """

    def decorate(function: Callable[..., Any]) -> Workflow[Any, Any]:
        made_name = checked_name("workflow", function, name)
        if not inspect.iscoroutinefunction(function):
            raise UsageError(f"workflow {made_name!r}: {place(function)} must be an `async def`")
        _check_run_parameter(made_name, function, scope)
        made: Workflow[Any, Any] = Workflow(
            function,
            name=made_name,
            version=checked_version(made_name, version),
            events=_checked_events(made_name, events),
            declared=timeouts(timeout, cancel_timeout),
            retry=checked_retry(retry),
            retry_from=checked_from(retry_from),
            retention=_checked_retention(made_name, retention),
            scope=scope,
        )
        made.record_arguments = checked_record(record_arguments)
        return made

    # Linters move imports of types that only annotate under `if TYPE_CHECKING:`, this one too; we know it anyway.
    scope = {"WorkflowRun": WorkflowRun, **(local_scope(1) or {})}
    return decorate if fn is None else decorate(fn)


def _checked_retention(name: str, given: Retention | None) -> Periods:
    try:
        return NOTHING if given is None else read(given)
    except UsageError as error:
        raise UsageError(f"workflow {name!r}: retention: {error.message}", hint=error.hint) from None


def _check_run_parameter(name: str, fn: Callable[..., Any], scope: Scope) -> None:
    first = next(iter(signature(fn).parameters.values()), None)
    if first is None or first.kind not in _POSITIONAL or first.name in ("self", "cls"):
        raise UsageError(f"workflow {name!r}: the first parameter of {place(fn)} must be `run: WorkflowRun`")
    with suppress(Unresolved):  # asked again for the payload
        annotation = hints(fn, scope).get(first.name)
        if isinstance(annotation, type) and not issubclass(annotation, WorkflowRun):
            # Caught here, because the payload would silently lack this parameter.
            raise UsageError(
                f"workflow {name!r}: the first parameter of {place(fn)} is {annotation.__name__}, "
                "but Aiki passes the run: write `run: WorkflowRun` in front"
            )


def _checked_events(name: str, events: Any) -> Sequence[Event[Any]] | None:
    if events is None:
        return None
    if not isinstance(events, Sequence) or not all(isinstance(event, Event) for event in events):
        raise UsageError(f"workflow {name!r}: events={events!r} must be a list of events", hint="events=[approved]")
    names = [event.name for event in events]
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise UsageError(f"workflow {name!r}: two of its events are named {twice!r}")
    return tuple(events)
