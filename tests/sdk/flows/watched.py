"""Workflows that stop at gates, so that a test can look at them half way."""

from cerebelum import Context, WorkflowBuilder, step, workflow

from . import gates

# A loop that stops in its second round.


async def stir(context):
    number = gates.look(f"stir-{context.execution_id}") + 1
    gates.put(f"stir-{context.execution_id}", number)
    return {"round": number}


async def taste(context, stir):
    if stir["round"] == 2:
        await gates.wait(f"taste-{context.execution_id}")
    return stir["round"]


async def dish_up(context, taste):
    return f"after {taste:.0f} rounds"


cooking = (
    WorkflowBuilder("cooking")
    .timeline(["stir", "taste", "dish_up"])
    .step("stir", stir)
    .step("taste", taste)
    .step("dish_up", dish_up)
    .branch("taste")
    .if_("result < 3", back_to="stir")
    .build()
)


# A shortcut that stops at its target.


@step
async def look_up(context: Context, inputs: dict):
    return "known"


@step
async def ask_around(context: Context, look_up: str):
    return "asked"


@step
async def write_down(context: Context, ask_around: str):
    await gates.wait(f"write-{context.execution_id}")
    return ask_around


@step
async def put_away(context: Context, write_down: str):
    return "put away"


@workflow
def asking(wf):
    wf.timeline(look_up >> ask_around >> write_down >> put_away)
    wf.diverge(look_up, {"known": write_down})


# Two steps that stop beside each other.


@step
async def unlock(context: Context, inputs: dict):
    return "open"


@step
async def left_wing(context: Context, unlock: str):
    await gates.wait(f"left-{context.execution_id}")
    return "left"


@step
async def right_wing(context: Context, unlock: str):
    await gates.wait(f"right-{context.execution_id}")
    return "right"


@step
async def open_gate(context: Context, left_wing: str, right_wing: str):
    return [left_wing, right_wing]


@workflow
def opening(wf):
    wf.timeline(unlock >> [left_wing, right_wing] >> open_gate)


# One step, to be counted.


@step
async def ring(context: Context, inputs: dict):
    return inputs["number"]


@workflow
def ringing(wf):
    wf.timeline(ring)


WORKFLOWS = [cooking, asking, opening, ringing]
