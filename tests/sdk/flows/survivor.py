"""Three steps with a short sleep in the middle, for engines that are killed under them."""

import time

from cerebelum import Context, sleep, step, workflow


@step
async def begin(context: Context, inputs: dict):
    return {"number": inputs["number"]}


@step
async def rest(context: Context, begin: dict):
    await sleep(1500, data={"number": begin["number"], "rested_from": time.time()})


@step
async def finish(context: Context, rest: dict):
    return {"number": rest["number"], "rested": time.time() - rest["rested_from"]}


@workflow
def surviving(wf):
    wf.timeline(begin >> rest >> finish)


WORKFLOWS = [surviving]
