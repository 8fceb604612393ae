"""A workflow with a step name that another workflow, served by another worker, has too."""

from cerebelum import Context, step, workflow


@step
async def red_start(context: Context, inputs: dict):
    return inputs["number"]


@step
async def wrap_up(context: Context, red_start: float):
    return f"red {red_start:.0f}"


@workflow
def red_twin(wf):
    wf.timeline(red_start >> wrap_up)


WORKFLOWS = [red_twin]
