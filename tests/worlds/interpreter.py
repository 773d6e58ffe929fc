"""Own the workflow body that runs a random program, in asyncio and anyio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import anyio

from aiki.core.errors import Conflict, EventTimeout, SendFailed, TaskFailed
from aiki.inside.event import Event, Message
from aiki.inside.workflow_run import WorkflowRun
from tests.worlds.outside import TASKS, number_of
from tests.worlds.programs import EVENTS, Node

HEARD = [Event(f"event-{number}", type=str) for number in range(EVENTS)]
PEER = "0190b0a0-0000-7000-8000-00000000000a"
"""Whom programs send to that have no other, beside themselves."""

LABELS_EVERY = 4
"""Every so many nodes of a program set labels first."""


class Interpreter:
    """Runs a program as a workflow's body. `trace` is what a person would see it do, `faults` what must not be."""

    def __init__(self, run: WorkflowRun, trace: list[object], faults: list[str], peer: str = PEER) -> None:
        self.run = run
        self.faults = faults
        self.peer = peer
        self.trace = trace

    async def call(self, id: int, name: str, argument: object, key: str | None = None) -> str:
        chosen = TASKS[name] if key is None else TASKS[name].options(idempotency_key=key)
        try:
            value = str(await chosen.run(self.run, repr(argument)))
        except TaskFailed as error:
            value = f"failed: {error}"
        self.trace.append((id, name, value))
        return value

    async def go(self, node: Node, env: dict[str, Any]) -> Any:
        if node.id % LABELS_EVERY == 0:
            self.label(node)
        method = getattr(self, f"do_{node.kind.replace('if', 'if_').replace('try', 'try_')}")
        return await method(node, dict(env))

    def label(self, node: Node) -> None:
        """Set two labels, or take one of them back."""
        before = sorted(self.run.labels.items())
        self.run.set_labels({"at": str(node.id), f"at{node.id % 5}": None if node.id % 2 else str(self.run.now())})
        self.trace.append((node.id, "labels", sorted(self.run.labels.items()), before))

    # -- one way through

    async def do_call(self, node: Node, env: dict[str, Any]) -> Any:
        return await self.call(node.id, f"t{node.id % 5}", [node.id, node.number])

    async def do_same(self, node: Node, env: dict[str, Any]) -> Any:
        return await self.call(node.id, "same", node.number)

    async def do_keyed(self, node: Node, env: dict[str, Any]) -> Any:
        return await asyncio.gather(*[self.call(node.id, "key", node.number, f"k{node.number}") for _ in range(2)])

    async def do_callenv(self, node: Node, env: dict[str, Any]) -> Any:
        return await self.call(node.id, "env", [node.id, env.get("v", 0)])

    async def do_flaky(self, node: Node, env: dict[str, Any]) -> Any:
        return await self.call(node.id, "flaky", node.id)

    async def do_own(self, node: Node, env: dict[str, Any]) -> Any:
        self.trace.append((node.id, "own", self.run.now(), self.run.uuid(), self.run.random()))
        self.run.set_details(repr(self.trace[-1]))
        return await self.call(node.id, "t0", [node.id, self.run.random(), str(self.run.now())])

    async def do_yield(self, node: Node, env: dict[str, Any]) -> Any:
        for _ in range(int(node.number) % 4):
            await asyncio.sleep(0)
        return node.number % 4

    async def do_sleep(self, node: Node, env: dict[str, Any]) -> Any:
        await asyncio.sleep(node.number)
        self.trace.append((node.id, "slept", self.run.now()))
        return 1

    async def do_until(self, node: Node, env: dict[str, Any]) -> Any:
        await self.run.sleep_until(self.run.now() + timedelta(seconds=node.number))
        self.trace.append((node.id, "slept until", self.run.now()))
        return 1

    async def do_seq(self, node: Node, env: dict[str, Any]) -> Any:
        for part in node.parts:
            env["v"] = await self.go(part, env)
        return env.get("v")

    async def do_loop(self, node: Node, env: dict[str, Any]) -> Any:
        for turn in range(int(node.number)):
            env["v"] = [turn, await self.go(node.parts[0], env)]
        return env["v"]

    async def do_if_(self, node: Node, env: dict[str, Any]) -> Any:
        value = await self.call(node.id, "cond", [node.id, env.get("v", 0)])
        return await self.go(node.parts[number_of(value, node.id) % 2], env)

    async def do_patch(self, node: Node, env: dict[str, Any]) -> Any:
        new = self.run.patched(f"change-{node.id}")
        self.trace.append((node.id, "patched", new))
        return await self.go(node.parts[0 if new else 1], env)

    async def do_guarded(self, node: Node, env: dict[str, Any]) -> Any:
        """A change made under `patched`: the new call in front of the old one."""
        if self.run.patched(f"guard-{node.id}"):
            await self.go(node.parts[0], env)
        return await self.go(node.parts[1], env)

    async def do_try_(self, node: Node, env: dict[str, Any]) -> Any:
        name = "bad" if node.id % 2 else "ok"
        try:
            value = await TASKS[name].run(self.run, str(node.id))
            return [value, await self.go(node.parts[0], env)]
        except TaskFailed as error:
            return ["caught", str(error), await self.go(node.parts[1], env)]
        finally:
            await self.call(node.id, "fin", [node.id])

    async def do_agen(self, node: Node, env: dict[str, Any]) -> Any:
        async def values() -> AsyncIterator[str]:
            for turn in range(2):
                yield await self.call(node.id, "ag", [node.id, turn])

        return [[value, await self.go(node.parts[0], env)] async for value in values()]

    # -- events

    async def do_hear(self, node: Node, env: dict[str, Any]) -> Any:
        return self.heard(node, await self.run.wait_for(HEARD[int(node.number)]))

    async def do_heartimeout(self, node: Node, env: dict[str, Any]) -> Any:
        began = self.run.now()
        try:
            return self.heard(node, await self.run.wait_for(HEARD[node.id % EVENTS], timeout=f"{node.number}s"))
        except EventTimeout:
            self.timed_out(node, began)
            return self.heard(node, None)

    async def do_hearcount(self, node: Node, env: dict[str, Any]) -> Any:
        began = self.run.now()
        try:
            values = await self.run.wait_for(HEARD[node.id % EVENTS], count=2, timeout=f"{node.number}s")
        except EventTimeout:
            self.timed_out(node, began)
            values = []
        return self.heard(node, values)

    async def do_hearany(self, node: Node, env: dict[str, Any]) -> Any:
        message: Message[Any] = await self.run.wait_any(*HEARD[: int(node.number) + 1])
        return self.heard(node, [message.event.name, message.value, message.at])

    async def do_hearwithin(self, node: Node, env: dict[str, Any]) -> Any:
        value, began = None, self.run.now()
        try:
            async with asyncio.timeout(node.number):
                value = await self.run.wait_for(HEARD[node.id % EVENTS])
        except TimeoutError:
            self.timed_out(node, began)
        return self.heard(node, value)

    async def do_hearlater(self, node: Node, env: dict[str, Any]) -> Any:
        """Leave a wait pending, which takes the next event all the same."""
        waiting = asyncio.create_task(self.run.wait_for(HEARD[int(node.number)]))
        value = await self.call(node.id, "t1", node.id)
        return [value, self.heard(node, await waiting)]

    async def do_tell(self, node: Node, env: dict[str, Any], target: str | None = None) -> Any:
        try:
            await self.run.send(target or self.peer, HEARD[int(node.number)], f"from {node.id}")
        except SendFailed as error:
            return self.heard(node, error.result)
        return self.heard(node, "sent")

    async def do_tellself(self, node: Node, env: dict[str, Any]) -> Any:
        return await self.do_tell(node, env, self.run.run_id)

    def timed_out(self, node: Node, began: datetime) -> None:
        """No wake ends a timeout."""
        if (took := self.run.now() - began) < timedelta(seconds=node.number):
            self.faults.append(f"{node.kind} {node.id} timed out after {took}")

    def heard(self, node: Node, value: Any) -> Any:
        self.trace.append((node.id, "heard", value, self.run.now()))
        return str(value)

    # -- branches

    async def do_gather(self, node: Node, env: dict[str, Any]) -> Any:
        return list(await asyncio.gather(*[self.go(part, env) for part in node.parts]))

    async def do_tg(self, node: Node, env: dict[str, Any]) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.go(part, env)) for part in node.parts]
        return [done.result() for done in tasks]

    async def do_atg(self, node: Node, env: dict[str, Any]) -> Any:
        out: dict[int, Any] = {}

        async def one(index: int, part: Node) -> None:
            out[index] = await self.go(part, env)

        async with anyio.create_task_group() as group:
            for index, part in enumerate(node.parts):
                group.start_soon(one, index, part)
        return [out[index] for index in range(len(node.parts))]

    async def do_event(self, node: Node, env: dict[str, Any]) -> Any:
        event = asyncio.Event()

        async def sets() -> Any:
            value = await self.go(node.parts[0], env)
            event.set()
            return value

        async def waits() -> Any:
            await event.wait()
            return await self.go(node.parts[1], env)

        return list(await asyncio.gather(waits(), sets()))

    async def do_queue(self, node: Node, env: dict[str, Any]) -> Any:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)

        async def puts() -> None:
            for part in node.parts:
                await queue.put([await self.go(part, env)])
            await queue.put(None)

        async def gets() -> Any:
            out = []
            while (value := await queue.get()) is not None:
                out.append([value, await self.call(node.id, "cons", [node.id, value])])
            return out

        return (await asyncio.gather(puts(), gets()))[1]

    async def do_lock(self, node: Node, env: dict[str, Any]) -> Any:
        lock = asyncio.Lock()

        async def one(part: Node) -> Any:
            async with lock:
                return await self.go(part, env)

        return list(await asyncio.gather(*map(one, node.parts)))

    async def do_bg(self, node: Node, env: dict[str, Any]) -> Any:
        behind = asyncio.create_task(self.go(node.parts[0], env))
        value = await self.go(node.parts[1], env)
        return [value, await behind]

    # -- races

    async def do_first(self, node: Node, env: dict[str, Any], *, leave: bool = False) -> Any:
        tasks = [asyncio.create_task(self.go(part, env)) for part in node.parts]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not leave:
            for loser in pending:
                loser.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        won = [tasks.index(winner) for winner in done]
        self.trace.append((node.id, "won", won))
        return await self.call(node.id, "won", [node.id, won])

    async def do_firstleave(self, node: Node, env: dict[str, Any]) -> Any:
        return await self.do_first(node, env, leave=True)

    async def do_completed(self, node: Node, env: dict[str, Any]) -> Any:
        tasks = [asyncio.create_task(self.go(part, env)) for part in node.parts]
        return [
            await self.call(node.id, "first", [node.id, index, await value])
            for index, value in enumerate(asyncio.as_completed(tasks))
        ]

    async def do_listed(self, node: Node, env: dict[str, Any]) -> Any:
        return [await value for value in asyncio.as_completed([self.go(part, env) for part in node.parts])]

    async def do_walked(self, node: Node, env: dict[str, Any]) -> Any:
        """Walk through a set of what asyncio made by itself."""
        done, _ = await asyncio.wait([asyncio.gather(self.go(part, env)) for part in (*node.parts, *node.parts)])
        self.trace.append((node.id, "walked", [one.result() for one in done]))
        return [await self.call(node.id, "same", node.id) for _ in done]

    async def do_scoped(self, node: Node, env: dict[str, Any]) -> Any:
        """Cancel nested scopes from outside; each cleans up by a call of the same input."""
        out: list[str] = []

        async def one(part: Node) -> None:
            with anyio.CancelScope():
                try:
                    await self.go(part, env)
                finally:
                    with anyio.CancelScope(shield=True):
                        out.append(await self.call(part.id, "cleanup", node.id))

        async with anyio.create_task_group() as group:
            for part in (*node.parts, *node.parts):
                group.start_soon(one, part)
            await self.call(node.id, "first", node.id)
            group.cancel_scope.cancel()
        return out

    async def do_wait_for(self, node: Node, env: dict[str, Any]) -> Any:
        began = self.run.now()
        try:
            return await asyncio.wait_for(self.go(node.parts[0], env), node.number)
        except TimeoutError:
            self.timed_out(node, began)
            return await self.call(node.id, "to", [node.id])

    async def do_timeout(self, node: Node, env: dict[str, Any]) -> Any:
        began = self.run.now()
        try:
            async with asyncio.timeout(node.number):
                return await self.go(node.parts[0], env)
        except TimeoutError:
            self.timed_out(node, began)
            return await self.call(node.id, "to", [node.id])

    async def do_moveon(self, node: Node, env: dict[str, Any]) -> Any:
        value = None
        with anyio.move_on_after(node.number):
            value = await self.go(node.parts[0], env)
        return [value, await self.call(node.id, "mo", [node.id])]

    async def do_shield(self, node: Node, env: dict[str, Any]) -> Any:
        behind = asyncio.create_task(self.go(node.parts[0], env))
        try:
            return await asyncio.wait_for(asyncio.shield(behind), node.number)
        except TimeoutError:
            return [await self.call(node.id, "sh", [node.id]), await behind]

    async def do_cancelsib(self, node: Node, env: dict[str, Any]) -> Any:
        sibling = asyncio.create_task(self.go(node.parts[0], env))
        await self.go(node.parts[1], env)
        sibling.cancel()
        try:
            return await sibling
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
            return await self.call(node.id, "cancelled", [node.id])

    async def do_keyedrace(self, node: Node, env: dict[str, Any]) -> Any:
        """One caller of a shared key gives up, the other stays; then the key is asked for once more."""

        async def gives_up() -> Any:
            with anyio.move_on_after(node.number):
                return await self.call(node.id, "key", node.id, f"race-{node.id}")
            return "gave up"

        both = await asyncio.gather(gives_up(), self.go(node.parts[0], env))
        try:
            await self.call(node.id, "key", "another input", f"race-{node.id}")
        except Conflict:
            self.trace.append((node.id, "conflict"))
        return [both, await self.call(node.id, "key", node.id, f"race-{node.id}")]

    async def do_spin(self, node: Node, env: dict[str, Any]) -> Any:
        behind = asyncio.create_task(self.go(node.parts[0], env))
        try:
            while not behind.done():  # noqa: ASYNC110 - it is what this program is about
                await asyncio.sleep(0)
            return await self.call(node.id, "spun", [node.id, behind.result()])
        finally:
            behind.cancel()

    async def do_failtg(self, node: Node, env: dict[str, Any]) -> Any:
        async def fails() -> None:
            await TASKS["bad"].run(self.run, f"boom {node.id}")

        try:
            async with asyncio.TaskGroup() as group:
                for part in node.parts:
                    group.create_task(self.go(part, env))
                group.create_task(fails())
        except* TaskFailed:
            pass
        return await self.call(node.id, "after", [node.id])

    async def do_racevar(self, node: Node, env: dict[str, Any]) -> Any:
        seen: list[int] = []

        async def one(part: Node) -> Any:
            await self.go(part, env)
            seen.append(part.id)
            return await self.call(node.id, "rv", [node.id, list(seen)])

        return list(await asyncio.gather(*map(one, node.parts)))

    async def do_fin(self, node: Node, env: dict[str, Any]) -> Any:
        async def one() -> Any:
            try:
                return await self.go(node.parts[0], env)
            finally:
                self.trace.append((node.id, "finally"))
                await self.call(node.id, "cleanup", [node.id])

        try:
            return await asyncio.wait_for(one(), 1)
        except TimeoutError:
            return await self.go(node.parts[1], env)
