"""A step that the first worker never ends, and every later one at once."""

import asyncio
import os

from cerebelum import Context, step, workflow

from . import traces


@step
async def hold(context: Context, inputs: dict):
    if traces.leave(f"hold-{inputs['case']}") == 1:
        await asyncio.sleep(600)
    return {"process": os.getpid()}


@step
async def release(context: Context, hold: dict):
    return hold["process"]


@workflow
def holding(wf):
    wf.timeline(hold >> release)


WORKFLOWS = [holding]
