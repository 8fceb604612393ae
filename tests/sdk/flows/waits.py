"""Sleeps and approvals, as the SDK asks for them today and as older ones did."""

import time
from datetime import timedelta

from cerebelum import Context, WorkflowBuilder, sleep, step, wait_for_approval, workflow

from . import traces


@step
async def nap(context: Context, inputs: dict):
    traces.leave("nap")
    await sleep(timedelta(milliseconds=inputs["millis"]), data={"slept_from": time.time()})
    raise AssertionError("sleep() never returns")


@step
async def after_nap(context: Context, nap: dict):
    return {"slept": time.time() - nap["slept_from"]}


@workflow
def napping(wf):
    wf.timeline(nap >> after_nap)


async def old_nap(context, inputs):
    data = {"slept_from": time.time()}
    return {"__cerebelum_sleep_request__": True, "duration_ms": inputs["millis"], "data": data}


async def after_old_nap(context, old_nap):
    return {"slept": time.time() - old_nap["slept_from"]}


old_napping = (
    WorkflowBuilder("old_napping")
    .timeline(["old_nap", "after_old_nap"])
    .step("old_nap", old_nap)
    .step("after_old_nap", after_old_nap)
    .build()
)


@step
async def review(context: Context, inputs: dict):
    traces.leave("review")
    # Every number arrives as a float, and a float here would break the SDK's own loop.
    timeout_ms = int(inputs["timeout_ms"]) if "timeout_ms" in inputs else None
    await wait_for_approval("legal", {"document": inputs["document"]}, timeout_ms)


@step
async def publish(context: Context, review: dict):
    traces.leave("publish")
    return {"published_by": review["by"]}


@workflow
def publishing(wf):
    wf.timeline(review >> publish)


WORKFLOWS = [napping, old_napping, publishing]
