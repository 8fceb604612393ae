"""Serves the workflows of one module with the SDK's Worker: `python -m flows.serve basic --core ADDR`."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import importlib
import signal
import sys
import warnings

warnings.filterwarnings("ignore", "Step .* which is not yet registered")  # steps in any order

from cerebelum import Worker, WorkflowDefinition  # noqa: E402


def definition_of(workflow: object) -> WorkflowDefinition:
    """A workflow as `Worker.register_workflow` wants it, decorated or from the older builder."""
    if isinstance(workflow, WorkflowDefinition):
        return workflow
    # What `Workflow.execute(distributed=True)` does itself; there is no public way.
    workflow.validate()
    return workflow._built_definition


def end_with_the_suite() -> None:
    """Where the system can: no worker is left behind by a suite that was killed."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("flow", help="a module of this package")
    parser.add_argument("--core", required=True, help="the engine's address")
    parser.add_argument("--id", required=True, help="the worker's id")
    parser.add_argument("--only", help="the steps it has, with commas; default: all")
    arguments = parser.parse_args()
    end_with_the_suite()

    # One second at most between two attempts to reconnect, where the default doubles to a minute.
    worker = Worker(arguments.id, arguments.core, reconnect_max_delay=1.0)
    module = importlib.import_module(f"flows.{arguments.flow}")
    definitions = [definition_of(workflow) for workflow in module.WORKFLOWS]
    steps = {
        name: step.function
        for definition in definitions
        for name, step in definition.steps_metadata.items()
    }
    # Steps of workflows that the SDK can not write.
    steps |= {step.name: step.function for step in getattr(module, "STEPS", [])}
    only = arguments.only.split(",") if arguments.only is not None else list(steps)
    for name in filter(None, only):
        worker.register_step(name, steps[name])
    for definition in definitions:
        worker.register_workflow(definition)
    print(f"SUBMITS {len(definitions)} BLUEPRINTS")
    asyncio.run(worker.start())


if __name__ == "__main__":
    main()
