"""The SDK's own generated stubs, with the deadlines that its client classes leave out."""

from __future__ import annotations

from typing import Any

import grpc
from cerebelum.proto import worker_service_pb2 as pb
from cerebelum.proto.worker_service_pb2_grpc import WorkerServiceStub
from google.protobuf.json_format import MessageToDict

from .processes import eventually

RPC_SECONDS = 20.0
OPEN = {pb.EXECUTION_RUNNING, pb.EXECUTION_SLEEPING, pb.EXECUTION_WAITING_FOR_APPROVAL}


class Client:
    """Raw calls: the options that the SDK's classes never send, and reading what came of them."""

    def __init__(self, address: str) -> None:
        options = [
            ("grpc.enable_http_proxy", 0),
            # A restarted engine is found at once, not after a back-off shared with other channels.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 300),
        ]
        self.channel = grpc.insecure_channel(address, options=options)
        self.stub = WorkerServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()

    def call(self, method: str, request: Any, seconds: float = RPC_SECONDS) -> Any:
        """One call; waits for the engine to be up, but never longer than `seconds`."""
        return getattr(self.stub, method)(request, timeout=seconds, wait_for_ready=True)

    def submit(self, name: str, *steps: tuple[str, list[str]]) -> pb.BlueprintValidation:
        """Submits a blueprint as raw as it comes: no check of the SDK stands before the engine's."""
        timeline = [pb.Step(name=step, depends_on=depends_on) for step, depends_on in steps]
        definition = pb.WorkflowDefinition(timeline=timeline)
        return self.call(
            "SubmitBlueprint",
            pb.Blueprint(workflow_module=name, language="python", definition=definition),
        )

    def start(
        self, workflow: str, inputs: dict[str, Any] | None = None, **options: Any
    ) -> pb.ExecutionHandle:
        """Starts an execution; `options` are those of ExecutionOptions."""
        request = pb.ExecuteRequest(workflow_module=workflow)
        request.inputs.update(inputs or {})
        if options:
            request.options.CopyFrom(pb.ExecutionOptions(**options))
        return self.call("ExecuteWorkflow", request)

    def status(self, execution: str) -> pb.ExecutionStatus:
        return self.call(
            "GetExecutionStatus", pb.GetExecutionStatusRequest(execution_id=execution)
        )

    def wait_for(self, execution: str, state: int, seconds: float = 30.0) -> pb.ExecutionStatus:
        """The status once it is `state`; fails at once when it ended otherwise."""

        def look() -> pb.ExecutionStatus | None:
            status = self.status(execution)
            assert status.status == state or status.status in OPEN, f"it ended:\n{status}"
            return status if status.status == state else None

        return eventually(look, f"{execution} is {pb.ExecutionState.Name(state)}", seconds)

    def completed(self, execution: str, seconds: float = 30.0) -> pb.ExecutionStatus:
        return self.wait_for(execution, pb.EXECUTION_COMPLETED, seconds)

    def failed(self, execution: str, seconds: float = 30.0) -> pb.ExecutionStatus:
        return self.wait_for(execution, pb.EXECUTION_FAILED, seconds)


def outputs(status: pb.ExecutionStatus) -> dict[str, Any]:
    """The outputs of the steps as they were submitted, envelopes and all."""
    return {step: MessageToDict(output) for step, output in status.step_outputs.items()}


def ok(status: pb.ExecutionStatus, step: str) -> Any:
    """What `step` returned, out of the envelope in which a decorated step's value travels."""
    return outputs(status)[step]["ok"]
