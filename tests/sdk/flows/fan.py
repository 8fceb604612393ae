"""One step, two that run at the same time, one that joins them."""

import asyncio
import os
import time

from cerebelum import Context, step, workflow


async def busy() -> dict:
    started = time.time()
    await asyncio.sleep(1.5)
    return {"started": started, "ended": time.time(), "process": os.getpid()}


@step
async def split(context: Context, inputs: dict):
    return inputs["parts"]


@step
async def left(context: Context, split: list):
    return await busy() | {"part": split[0]}


@step
async def right(context: Context, split: list):
    return await busy() | {"part": split[1]}


@step
async def join(context: Context, left: dict, right: dict):
    return {"parts": [left["part"], right["part"]], "started": time.time()}


@workflow
def fan(wf):
    wf.timeline(split >> [left, right] >> join)


WORKFLOWS = [fan]
