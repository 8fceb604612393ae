"""Steps whose calls an engine can only guess: the blueprint does not say who takes `inputs`."""

from cerebelum import Context, step, workflow

from . import traces


@step
async def fetch(context: Context, inputs: dict):
    traces.leave("fetch")
    return {"amount": inputs["amount"]}


@step
async def convert(context: Context, fetch: dict, inputs: dict):
    """Depends on a step and takes the inputs as well."""
    traces.leave("convert")
    return fetch["amount"] * inputs["rate"]


@workflow
def converting(wf):
    wf.timeline(fetch >> convert)


@step
async def tick(context: Context):
    """Depends on nothing and takes nothing."""
    traces.leave("tick")
    return "tick"


@step
async def tock(context: Context, tick: str):
    traces.leave("tock")
    return f"{tick} tock"


@workflow
def clockwork(wf):
    wf.timeline(tick >> tock)


WORKFLOWS = [converting, clockwork]
