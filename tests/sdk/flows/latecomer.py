"""A workflow whose second step is served by a worker that is started late."""

from cerebelum import Context, step, workflow


@step
async def announce(context: Context, inputs: dict):
    return inputs["train"]


@step
async def arrive(context: Context, announce: str):
    return f"{announce} has arrived"


@workflow
def travelling(wf):
    wf.timeline(announce >> arrive)


WORKFLOWS = [travelling]
