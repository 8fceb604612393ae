"""The ways in which a step fails: by exception, by envelope, undecorated, and by what it returns."""

from cerebelum import Context, WorkflowBuilder, step, workflow

from . import traces


@step
async def charge(context: Context, inputs: dict):
    raise ValueError(f"the card {inputs['card']} was declined")


@step
async def ship(context: Context, charge: dict):
    traces.leave("ship")


@workflow
def purchase(wf):
    wf.timeline(charge >> ship)


@step
async def check(context: Context, inputs: dict):
    return {"error": "stock is empty"}


@workflow
def stocktaking(wf):
    wf.timeline(check)


async def refund(context, inputs):
    raise KeyError("no such payment")


async def export(context, inputs):
    return {"raw": b"not for a Struct"}


older = WorkflowBuilder("refunding").timeline(["refund"]).step("refund", refund).build()
unserializable = WorkflowBuilder("exporting").timeline(["export"]).step("export", export).build()

WORKFLOWS = [purchase, stocktaking, older, unserializable]
