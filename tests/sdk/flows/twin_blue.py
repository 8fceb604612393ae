"""A workflow with a step name that another workflow, served by another worker, has too."""

from cerebelum import Context, step, workflow


@step
async def blue_start(context: Context, inputs: dict):
    return inputs["number"]


@step
async def wrap_up(context: Context, blue_start: float):
    return f"blue {blue_start:.0f}"


@workflow
def blue_twin(wf):
    wf.timeline(blue_start >> wrap_up)


WORKFLOWS = [blue_twin]
