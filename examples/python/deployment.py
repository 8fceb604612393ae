"""A deployment in three steps, for the published Cerebelum SDK, and the worker that runs them.

    pip install cerebelum-sdk==0.3.1
    python examples/python/deployment.py [ADDRESS]      # an engine; default localhost:50051

The worker keeps nothing: kill it, kill the engine, start either again, and the deployment goes on.
"""

import asyncio
import os
import sys

from cerebelum import Context, Worker, sleep, step, workflow


@step
async def start_process(context: Context, inputs: dict):
    """The first step takes the `inputs` that the execution was started with."""
    return {"process": f"{inputs['app']}@{inputs['version']}"}


@step
async def wait_for_deployment(context: Context, start_process: dict):
    """A parameter with a step's name receives that step's result.

    The sleep is the engine's, not this process's: nothing of it is in memory here. When it is over,
    `data` is what this step returns; nothing after `sleep` runs.
    """
    await sleep(10_000, data={"process": start_process["process"], "deployed": True})


@step
async def finalize(context: Context, wait_for_deployment: dict):
    return {"message": f"{wait_for_deployment['process']} is live"}


@workflow
def deployment(wf):
    wf.timeline(start_process >> wait_for_deployment >> finalize)


async def serve(address: str) -> None:
    """Offers the three steps to the engine at `address`, and runs what it hands out."""
    deployment.validate()
    definition = deployment._built_definition  # the SDK has no public name for it

    # Tries again every two seconds when the engine is away; the SDK's default doubles to a minute.
    worker = Worker(f"deployer-{os.getpid()}", address, reconnect_max_delay=2.0)
    for name, metadata in definition.steps_metadata.items():
        worker.register_step(name, metadata.function)
    worker.register_workflow(definition)
    await worker.start()


if __name__ == "__main__":
    try:
        asyncio.run(serve(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"))
    except KeyboardInterrupt:
        pass
