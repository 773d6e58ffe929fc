"""Own enqueue by name: a call that holds no code, checked against what workers have registered.

The JSON Schema of a workflow's parameters catches most wrong payloads before anything is written, and tells what a
number or a table's cell stands for; the worker checks again, against the types themselves, when the run arrives. The
schema comes from whoever may register one, and is read as a stranger's (see `wire.schema` and `payload.schema`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import msgspec
from msgspec import Raw, structs

from aiki.client.wire import Wire
from aiki.client.workflows import known_names, registered
from aiki.core.canonical import canonical, digest
from aiki.core.errors import NotFound, PayloadError, UsageError
from aiki.core.misfit import Misfit
from aiki.core.near import nearest
from aiki.definitions.call import Call
from aiki.definitions.options import NO_OPTIONS, UNCHANGED, HasOptions, ParentClose, RunOptions, checked_version
from aiki.definitions.workflow import Workflow
from aiki.payload import schema
from aiki.payload.reading import read
from aiki.wire import declared
from aiki.wire.declared import Events
from aiki.wire.messages import NewRun, Route
from aiki.wire.schema import BadSchema, Schema, parse
from aiki.wire.subjects import is_token

CACHE_SECONDS: Final = 10.0
SCHEMAS: Final = 100
PATH_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class NamedCall(HasOptions):
    """A workflow by name with its payload: one JSON object of the workflow's parameters, and Decimals for Decimals.

    `version` may be left out while exactly one is registered. `.options(...)` are those of a workflow.
    """

    workflow: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None
    run_options: RunOptions = NO_OPTIONS

    def _with(self, options: RunOptions, version: str, parent_close: ParentClose) -> Self:
        if parent_close is not UNCHANGED:
            raise UsageError("parent_close= is for the children of a run, which no call by name starts")
        made = self.version if version is UNCHANGED else checked_version(self.workflow, version)
        return replace(self, run_options=options, version=made)


class RouteBook:
    """The routes that workers have registered, as far as this client has asked; a route is kept for 10 s."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._known: dict[str, tuple[float, list[Route]]] = {}
        self._schemas: dict[bytes, Schema] = {}

    async def to_new_run(self, call: NamedCall, run_id: str) -> NewRun:
        """Return the run to enqueue. Raises NotFound, UsageError or PayloadError before anything is sent."""
        route = await self._resolve(call.workflow, call.version)
        if not isinstance(call.payload, Mapping):
            raise PayloadError(f"$: the payload of {call.workflow!r} must be a JSON object of its parameters")
        data, made = encoded(call.payload, self._schema(route), f"the payload of {route.workflow!r} {route.version}")
        keyed = call.run_options.key is not None
        return NewRun(
            id=run_id,
            workflow=call.workflow,
            version=route.version,
            input=Raw(data),
            options=_with_timeouts(call.run_options, route),
            digest=made if keyed else None,
        )

    async def events(self, workflow: str, version: str) -> Events:
        """Return the events that a workflow declares; None if it takes any, or is not known. Raises PayloadError."""
        for route in await self._routes(workflow, version):
            if route.version == version:
                with _refusing(route):
                    return declared.from_wire(route.events)
        return None

    async def check_input(self, workflow: str, version: str, stored: Raw) -> None:
        """Raise PayloadError unless a run's input is one that this version takes, NotFound if nobody registered it."""
        route = await self._resolve(workflow, version)
        try:
            schema.check(msgspec.json.decode(stored), self._schema(route))
        except Misfit as misfit:
            what = f"the run's input for {workflow!r} {version}"
            raise PayloadError(f"${misfit.path[:PATH_CHARS]}: {misfit.reason}, in {what}") from None

    async def _resolve(self, workflow: str, version: str | None) -> Route:
        if not is_token(workflow):
            raise UsageError(f"{workflow[:80]!r} is no workflow's name: names have 1 to 64 of A-Z a-z 0-9 _ -")
        routes = await self._routes(workflow, version)
        if not routes:
            raise await self._unknown(workflow)
        known = ", ".join(route.version for route in routes)
        if version is None:
            if len(routes) > 1:
                raise UsageError(
                    f"workflow {workflow!r} has several versions ({known})",
                    hint=f'version="{routes[0].version}"',
                    command=f"--version {routes[0].version}",
                )
            return routes[0]
        for route in routes:
            if route.version == version:
                return route
        raise NotFound(f"workflow {workflow!r} has no version {version!r} (registered: {known})")

    async def _unknown(self, workflow: str) -> NotFound:
        what = f"workflow {workflow!r} is not registered in namespace {self._wire.namespace!r}"
        if meant := nearest(workflow, await known_names(self._wire)):
            return NotFound(
                f"{what}: did you mean {meant!r}?",
                hint=f'await client.enqueue("{meant}", ...)',
                command=f"aiki enqueue {meant}",
            )
        return NotFound(
            f"{what}: no worker has ever served it",
            hint="async with Worker(client, workflows=[...]) as worker: ...",
            command="aiki worker start -m MODULE",
        )

    async def _routes(self, workflow: str, version: str | None) -> list[Route]:
        asked, routes = self._known.get(workflow, (0.0, []))
        fresh = time.monotonic() - asked < CACHE_SECONDS
        # What is not known may have been registered a moment ago: only a find is worth keeping.
        if not fresh or not routes or (version is not None and all(route.version != version for route in routes)):
            routes = await registered(self._wire, workflow)
            self._known[workflow] = time.monotonic(), routes
        return routes

    def _schema(self, route: Route) -> Schema:
        key = bytes(route.parameters)
        if key not in self._schemas:
            if len(self._schemas) >= SCHEMAS:
                self._schemas.clear()
            self._schemas[key] = _parsed(route) if key else {}
        return self._schemas[key]


def of_workflow(call: NamedCall, workflow: Workflow[..., Any]) -> Call[Any]:
    """Return a call by name as one of the workflow, which nobody need have registered: of any version, if it says none.

    Raises PayloadError if its payload does not fit.
    """
    what = f"the payload of {workflow.name!r} {workflow.version}"
    data, _ = encoded(call.payload, parse(msgspec.json.encode(workflow.parameters.schema())), what)
    workflow.parameters.decode(data)
    options = _with_timeouts(call.run_options, workflow.declared)
    return Call(workflow.name, workflow.version, data, result=workflow.result, options=options)


def encoded(value: Any, form: Schema, what: str) -> tuple[bytes, str]:
    """Return a value as JSON, read and checked by its schema, and the digest that it has where its type is known.

    Raises PayloadError, with the place, about `what`.
    """
    try:
        data = _encode(_read(value, form), what)
        plain = msgspec.json.decode(data)
        schema.check(plain, form)
    except Misfit as misfit:
        raise PayloadError(f"${misfit.path[:PATH_CHARS]}: {misfit.reason}, in {what}") from None
    return data, digest(canonical(schema.without_defaults(plain, form, form)))


def _with_timeouts(options: RunOptions, of_all: Route | RunOptions) -> RunOptions:
    """Return the options, with the timeouts of the workflow if they have none."""
    if options.timeout is not None or options.cancel_timeout is not None:
        return options
    return structs.replace(options, timeout=of_all.timeout, cancel_timeout=of_all.cancel_timeout)


def _parsed(route: Route) -> Schema:
    with _refusing(route):
        return parse(bytes(route.parameters))


@contextmanager
def _refusing(route: Route) -> Iterator[None]:
    try:
        yield
    except BadSchema as error:
        raise PayloadError(
            f"the schema that was registered for {route.workflow!r} {route.version} is refused: {error}",
            hint="restart its workers, with this version of aiki: they register it anew",
        ) from error


def _read(value: Any, form: Schema) -> Any:
    try:
        return read(value, form)
    except RecursionError:
        return value  # the encoder says how deep it may be


def _encode(value: Any, what: str) -> bytes:
    canonical(value, owner=what)  # refuses NaN, lone surrogates, keys that are not text, and too deep nesting
    try:
        data = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"$: {what} is not JSON: {error}") from error
    return data
