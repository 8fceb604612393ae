"""Rules that lead back: until a condition holds, until a step no longer fails, and without an end."""

from cerebelum import Context, DivergeRule, PatternMatch, WorkflowBuilder, step, workflow

from . import gates
from .serve import definition_of

ROUNDS = 50


async def read_lap(context):
    return gates.look(f"lap-{context.execution_id}")


async def run_lap(context, read_lap):
    # `put` and not `add`: an engine that dies between here and the result runs this again.
    gates.put(f"lap-{context.execution_id}", int(read_lap) + 1)
    return {"lap": read_lap + 1}


async def rest_after(context, run_lap):
    return run_lap["lap"]


running = (
    WorkflowBuilder("running")
    .timeline(["read_lap", "run_lap", "rest_after"])
    .step("read_lap", read_lap)
    .step("run_lap", run_lap)
    .step("rest_after", rest_after)
    .branch("run_lap")
    .if_(f"lap < {ROUNDS}", back_to="read_lap")
    .build()
)


async def turn(context):
    return {"dizzy": True}


async def sit_down(context, turn):
    return "never"


turning = (
    WorkflowBuilder("turning")
    .timeline(["turn", "sit_down"])
    .step("turn", turn)
    .step("sit_down", sit_down)
    .branch("turn")
    .if_("dizzy", back_to="turn")
    .build()
)

TRIES = 4


async def push_door(context, inputs):
    number = gates.look(f"door-{context.execution_id}") + 1
    gates.put(f"door-{context.execution_id}", number)
    if number < TRIES:
        raise OSError("it is stuck")
    return "open"


async def walk_through(context, push_door):
    return f"through the {push_door} door"


pushing = (
    WorkflowBuilder("pushing")
    .timeline(["push_door", "walk_through"])
    .step("push_door", push_door)
    .step("walk_through", walk_through)
    .diverge("push_door")
    .when(":error", target="push_door")
    .build()
)


# A handler outside the timeline that mends what failed and leads back into it.


@step
async def start_car(context: Context, inputs: dict):
    if not gates.look(f"battery-{context.execution_id}"):
        raise RuntimeError("the battery is flat")
    return "it runs"


@step
async def drive(context: Context, start_car: str):
    return f"{start_car}, and drives"


@step
async def charge_battery(context: Context, start_car: dict):
    gates.put(f"battery-{context.execution_id}", 1)
    return "charged"


@workflow
def driving(wf):
    wf.timeline(start_car >> drive)
    wf.diverge(start_car, {"error": charge_battery})


def _led_back(definition):
    """The DSL lets no rule begin outside the timeline; the definition that it makes has no such limit."""
    rule = DivergeRule(from_step="charge_battery")
    rule.patterns.append(PatternMatch(pattern="charged", target="start_car"))
    definition.diverge_rules.append(rule)
    return definition


WORKFLOWS = [running, turning, pushing, _led_back(definition_of(driving))]
