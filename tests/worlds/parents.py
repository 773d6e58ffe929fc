"""Own what a random program does with children of its own: programs, too, each a run."""

from __future__ import annotations

import asyncio
from typing import Any

from aiki.core.errors import AikiError, ChildFailed, Conflict, SendFailed, TaskFailed, UsageError
from aiki.core.retry import Retry
from aiki.definitions.workflow import Workflow
from aiki.inside.child import Child
from aiki.inside.workflow_run import WorkflowRun
from tests.worlds.interpreter import HEARD, PEER, Interpreter
from tests.worlds.outside import TASKS
from tests.worlds.programs import Node, keyed


class Parent(Interpreter):
    """Runs a program whose children are of `flow`: its input is the id of the node that is their program."""

    def __init__(
        self,
        run: WorkflowRun,
        trace: list[object],
        faults: list[str],
        peer: str = PEER,
        *,
        flow: Workflow[[int], str],
    ) -> None:
        super().__init__(run, trace, faults, peer)
        self.flow = flow

    async def came(self, node: Node, child: Child[str]) -> str:
        """Wait for the child's end; what it has come to is looked at when all is over."""
        try:
            value = await child.result()
        except ChildFailed as error:
            self.trace.append((node.id, "ended", error.run_id, error.state, self.run.now()))
            if node.id % 3 == 0:
                raise
            return f"a child {error.state}"
        self.trace.append((node.id, "came", child.run_id, value, self.run.now()))
        return value

    async def start(self, program: Node, **options: Any) -> Child[str]:
        return await self.child_flow(program).options(**options).start(self.run, program.id)

    def child_flow(self, program: Node) -> Workflow[[int], str]:
        """Return the workflow of a child, which is tried again by its own rule if its program says so."""
        match program.id % 3:
            case 0:
                return self.flow.options(retry=Retry.fixed(3, "1s"))
            case 1:
                return self.flow.options(retry=Retry.fixed(2, "10s"), retry_from="start")
        return self.flow

    async def do_shaky(self, node: Node, env: dict[str, Any]) -> Any:
        """Fail with a task, or with what came of that."""
        try:
            return await TASKS["shaky"].run(self.run, str(node.id))
        except TaskFailed as error:
            if node.id % 2:
                raise
            raise ValueError("the task has failed") from error

    async def do_child(self, node: Node, env: dict[str, Any]) -> Any:
        try:
            value = await self.child_flow(node.parts[0]).run(self.run, node.parts[0].id)
        except ChildFailed as error:
            if node.id % 3 == 0:
                raise
            value = f"a child {error.state}"
        self.trace.append((node.id, "child", value, self.run.now()))
        return value

    async def do_childwithin(self, node: Node, env: dict[str, Any]) -> Any:
        began = self.run.now()
        try:
            async with asyncio.timeout(node.number):
                return await self.do_child(node, env)
        except TimeoutError:
            self.timed_out(node, began)
            return await self.call(node.id, "to", [node.id])

    async def do_childstarted(self, node: Node, env: dict[str, Any]) -> Any:
        child = await self.start(node.parts[0])
        value = await self.go(node.parts[1], env)
        return [value, await self.came(node, child)]

    async def do_childleft(self, node: Node, env: dict[str, Any]) -> Any:
        """Let it outlive this body, or hold that up."""
        await self.start(node.parts[0], parent_close=["abandon", "wait", "cancel"][node.id % 3])
        return await self.go(node.parts[1], env)

    async def do_childspoken(self, node: Node, env: dict[str, Any]) -> Any:
        child = await self.start(node.parts[0])
        told = []
        for event in HEARD:
            try:
                await child.send(event, f"from {node.id}")
                told.append("sent")
            except SendFailed as error:
                told.append(error.result)
        self.trace.append((node.id, "told", told))
        return [told, await self.came(node, child)]

    async def do_childstopped(self, node: Node, env: dict[str, Any]) -> Any:
        child = await self.start(node.parts[0])
        value = await self.go(node.parts[1], env)
        await child.cancel(reason="no longer wanted")
        self.trace.append((node.id, "stopped", self.run.now()))
        return [value, await self.came(node, child)]

    async def do_childtwice(self, node: Node, env: dict[str, Any]) -> Any:
        """Ask for one result from two branches, and once more when it is here."""
        child = await self.start(node.parts[0])
        both = await asyncio.gather(self.came(node, child), self.came(node, child), return_exceptions=True)
        for one in both:
            if isinstance(one, BaseException):
                raise one
        return [*both, await self.came(node, child)]

    async def do_childkeyed(self, node: Node, env: dict[str, Any]) -> Any:
        number = int(node.number)
        program, key = (node.parts[0] if node.id % 4 == 0 else keyed(number)), f"key-{number}"
        conflict = "existing" if node.id % 4 == 1 else "error"
        try:
            child = await self.start(program, idempotency_key=key, on_conflict=conflict)
        except (Conflict, UsageError) as error:  # another input came with the key; this run is one that the key has
            self.trace.append((node.id, type(error).__name__, str(error)))
            return "refused"
        value = await self.go(node.parts[1], env)
        return [value, await self.came(node, child)]

    async def do_children(self, node: Node, env: dict[str, Any]) -> Any:
        children = [await self.start(program) for program in node.parts[:-1]]
        value = await self.go(node.parts[-1], env)
        try:
            values = await self.run.all(children)
        except ChildFailed as error:
            self.trace.append((node.id, "one ended", error.run_id, error.state, self.run.now()))
            return [value, "one ended"]
        self.trace.append((node.id, "all", values, self.run.now()))
        return [value, values]

    async def do_childrengathered(self, node: Node, env: dict[str, Any]) -> Any:
        calls = [self.child_flow(program).run(self.run, program.id) for program in node.parts[:-1]]
        values = await asyncio.gather(*calls, self.go(node.parts[-1], env), return_exceptions=True)
        for one in values:
            if isinstance(one, BaseException) and not isinstance(one, AikiError):
                raise one
        told = [one if isinstance(one, str) else type(one).__name__ for one in values]
        self.trace.append((node.id, "gathered", told, self.run.now()))
        return told
