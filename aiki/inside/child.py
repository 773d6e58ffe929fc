"""Own `Child`: the hold of a body on a run that it has started."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import TypeVar

from aiki.core.errors import UsageError
from aiki.inside.asks import sending
from aiki.inside.kin import EndOf, Kin, Stop, all_of
from aiki.payload import Result
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages.arrivals import REASON_CHARS

if TYPE_CHECKING:
    from aiki.inside.durable import Durable
    from aiki.inside.event import Event

V = TypeVar("V")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Child(Generic[R_co]):
    """A run that this body has started: `await workflow.start(run, ...)` gives it. It belongs to this body alone.

    Every call on it is durable. If nobody says otherwise by `parent_close`, it is cancelled when its parent ends.
    """

    __slots__ = ("_body", "_kin", "_parent", "_result")

    def __init__(self, body: Durable, kin: Kin, parent: tuple[str, int], result: Result) -> None:
        """`parent` is the origin of the run that holds it, and its generation."""
        self._body = body
        self._kin = kin
        self._parent = parent
        self._result = result

    def __repr__(self) -> str:
        return f"<Child {self.run_id} of {self._kin.workflow}>"

    @property
    def run_id(self) -> str:
        """The id of its run."""
        return self._kin.run_id

    async def result(self) -> R_co:
        """Wait durably for its end and return its result; asked again it is the same. A wait holds no worker.

        Raises ChildFailed if it failed or was cancelled, PayloadError if its result does not fit the type.
        """
        await self._body.ask(EndOf(self._kin))
        return self._read()

    @overload
    async def send(self, event: Event[None], /) -> None: ...
    @overload
    async def send(self, event: Event[V], value: V, /) -> None: ...
    async def send(self, event: Event[Any], value: Any = None, /) -> None:
        """Send it an event, durably and once, as `run.send` does; one that has only been started takes it, too."""
        await self._body.ask(sending(self.run_id, event, value, sender=self._sender()))

    async def cancel(self, *, reason: str | None = None) -> None:
        """Have it end, durably and once, and return when it has been told; `await child.result()` waits for its end.

        One that has ended stays as it is. Raises UsageError for a run that was found by its key, which is not this
        one's to cancel, and if the reason is no text, or has over 1,000 characters.
        """
        if type(reason) not in (str, type(None)) or len(reason or "") > REASON_CHARS:
            raise UsageError(f"cancel(reason=...): it must be text of at most {REASON_CHARS:,} characters")
        if not self._kin.is_owned:
            raise UsageError(
                f"{self!r} was found by its idempotency key: another run has started it, or nobody, so it is not this"
                " run's to cancel",
                hint="cancel it by a task: `await client.handle(run_id).cancel()`",
            )
        await self._body.ask(Stop(self._kin, reason, self._sender()))

    def _sender(self) -> tuple[str, int, int]:
        return *self._parent, self._body.attempt()

    def _read(self) -> R_co:
        end = self._kin.end
        assert end is not None, "its end was waited for"
        value: R_co = self._result.decode(end.output)
        return value


async def results(body: Durable, children: Iterable[Child[R]]) -> list[R]:
    """Wait for the ends of all, and return their results in the same order. Raises as `Child.result`, and UsageError.

    Of several that did not complete the first one raises, once all have ended.
    """
    listed = list(children)
    for child in listed:
        _check(body, child)
    if len(listed) > UNREAD_EVENTS:
        raise UsageError(
            f"run.all() was given {len(listed):,} children, more than {UNREAD_EVENTS:,}",
            hint="wait for fewer at a time, or have children start some of them",
        )
    await body.ask(all_of([child._kin for child in listed]))  # noqa: SLF001 - of this module
    return [child._read() for child in listed]  # noqa: SLF001 - of this module


def _check(body: Durable, child: object) -> None:
    if not isinstance(child, Child):
        raise UsageError(
            f"run.all() was given a value of type {type(child).__name__} where a child belongs",
            hint="await run.all([await workflow.start(run, item) for item in items])",
        )
    if child._body is not body:  # noqa: SLF001 - of this module
        raise UsageError(f"run.all() was given {child!r}, which another run has started")
