"""An agent with a human in its loop: a model proposes, somebody decides, a tool runs, and so on for a few turns.

A model answers the same question differently each time, so asking it is a task: the answer on record is the one that
counts. The agent waits for its human without a worker, for a minute or a week. A decision names its turn: a second
click on an old mail decides nothing.

    aiki worker start -f examples/aiki.yaml -m agent
    aiki enqueue assist goal="a trip to Lisbon" --key lisbon
    aiki event send assist@lisbon decided turn:=1 go:=true
    aiki event send assist@lisbon decided turn:=2 go:=false note="not at night"
    aiki event send assist@lisbon decided turn:=3 go:=true
    aiki wait assist@lisbon
    aiki enqueue assist goal="a trip to Oslo" patience=50ms --wait
"""

from dataclasses import dataclass

from aiki import Event, EventTimeout, WorkflowRun, task, workflow

MAX_TURNS = 5


@dataclass
class Step:
    does: str
    is_last: bool = False


@dataclass
class Decision:
    turn: int
    go: bool
    note: str = ""


decided = Event("decided", type=Decision)
stopped = Event("stopped")


@task
def ask_model(talk: list[str]) -> Step:
    """Stand for a language model: two steps, the second as its human wishes, and then the answer."""
    done = [line for line in talk if line.startswith("tool: ")]
    wishes = [line.removeprefix("human: ") for line in talk if line.startswith("human: ")]
    steps = ["look for flights", ", ".join(["book the cheapest", *wishes])]
    return Step(steps[len(done)]) if len(done) < len(steps) else Step(f"done: {done[-1]}", is_last=True)


@task
def show(turn: int, step: Step) -> str:
    # A message with two buttons, which call `await handle.send(decided, Decision(turn, ...))`.
    return f"{turn}: may I {step.does}?"


@task
def use_tool(step: Step) -> str:
    return f"tool: {step.does}: ok"


@workflow(name="assist", events=[decided, stopped])
async def assist(run: WorkflowRun, goal: str, patience: str = "7d") -> str:
    talk = [f"goal: {goal}"]
    for turn in range(1, MAX_TURNS + 1):
        step = await ask_model.run(run, talk)
        if step.is_last:
            return step.does
        await show.run(run, turn, step)
        try:
            message = await run.wait_any(decided, stopped, timeout=patience)
            while decided.matches(message) and message.value.turn != turn:
                message = await run.wait_any(decided, stopped, timeout=patience)
        except EventTimeout:
            return f"nobody decided in turn {turn}"
        if not decided.matches(message):
            return f"stopped in turn {turn}"
        talk.append(await use_tool.run(run, step) if message.value.go else f"human: {message.value.note}")
    return f"not done in {MAX_TURNS} turns"
