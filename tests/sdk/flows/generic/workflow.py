"""The project of a generic worker: it is copied beside no other file, and imports nothing of ours."""

import os
from datetime import timedelta
from pathlib import Path

from cerebelum import sleep, step, wait_for_approval


def leave(name):
    with (Path(os.environ["FLOW_SCRATCH"]) / f"{name}.trace").open("a") as trace:
        trace.write("ran\n")


@step
async def draft(context, inputs):
    leave("draft")
    return {"text": f"{inputs['title']}, in full", "context": repr(context)}


@step
async def settle(context, draft):
    leave("settle")
    # Its data does not reach the engine through this worker.
    await sleep(timedelta(milliseconds=2500), data={"text": draft["text"]})


@step
async def review(context, draft, settle):
    leave("review")
    await wait_for_approval("legal", {"settled": settle})


@step
async def publish(context, draft, review):
    leave("publish")
    return {"text": draft["text"], "by": review["by"]}


@step
async def late(context, draft, inputs):
    """Takes `inputs` although it depends on a step: the engine has to be told so by Python."""
    return {"title": inputs["title"], "text": draft["text"]}


@step
async def breaking(context, inputs):
    raise ValueError(f"no {inputs['title']}")
