"""A step with a bug, which is mended while its execution lies there failed.

`repaired.py` is the same workflow with new code. Where no other worker is wanted, a gate mends it.
"""

from cerebelum import Context, step, workflow

from . import gates, traces


@step
async def collect_data(context: Context, inputs: dict):
    traces.leave(f"collect-{context.execution_id}")
    return inputs["rows"]


@step
async def clean_data(context: Context, collect_data: float):
    traces.leave(f"clean-{context.execution_id}")
    return collect_data * 2


def is_repaired(execution: str) -> bool:
    return gates.is_open(f"repaired-{execution}")


@step
async def analyse(context: Context, clean_data: float):
    if not is_repaired(context.execution_id):
        raise ZeroDivisionError("a bug")
    return clean_data + 1


@step
async def report(context: Context, analyse: float, collect_data: float):
    return [collect_data, analyse]


@workflow
def analysing(wf):
    wf.timeline(collect_data >> clean_data >> analyse >> report)


WORKFLOWS = [analysing]
