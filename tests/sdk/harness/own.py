"""The engine's own protocol, by what the engine says about it: no file of ours is generated for Python.

Requests are dicts with the names of the .proto files, answers too.
"""

from __future__ import annotations

import json
from typing import Any

import grpc
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    empty_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from grpc_reflection.v1alpha import reflection_pb2

RPC_SECONDS = 20.0
WORKERS = "cerebelum.worker.WorkerService"
EXECUTIONS = "lazarus.v1.ExecutionService"
BLUEPRINTS = "lazarus.v1.BlueprintService"


def files_of(channel: grpc.Channel, service: str) -> list[descriptor_pb2.FileDescriptorProto]:
    """The .proto files that the engine names for `service`."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
    # Both versions of the reflection service have the same messages; the stubs know the older.
    reflect = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    [reply] = reflect(iter([request]), timeout=RPC_SECONDS, wait_for_ready=True)
    files = reply.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]


class Lazarus:
    """Calls of `lazarus.v1`, and of what is ours in the workers' protocol."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        # Of its own: in the common one the SDK's file has the same name as ours.
        self.pool = descriptor_pool.DescriptorPool()
        known = set()
        for module in (empty_pb2, struct_pb2, timestamp_pb2):
            self.pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
            known.add(module.DESCRIPTOR.name)
        for service in (WORKERS, EXECUTIONS):
            for file in files_of(channel, service):
                if file.name not in known:
                    self.pool.Add(file)
                    known.add(file.name)

    def call(self, service: str, method: str, request: dict[str, Any]) -> Any:
        """One call; the answer, or the answers of one that streams."""
        described = self.pool.FindServiceByName(service).FindMethodByName(method)
        ask = message_factory.GetMessageClass(described.input_type)
        answer = message_factory.GetMessageClass(described.output_type)
        kind = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        callable_ = kind(
            f"/{service}/{method}",
            request_serializer=ask.SerializeToString,
            response_deserializer=answer.FromString,
        )
        reply = callable_(ParseDict(request, ask()), timeout=RPC_SECONDS, wait_for_ready=True)
        if described.server_streaming:
            return [_dict(message) for message in reply]
        return _dict(reply)

    def describe(self, execution: str) -> dict[str, Any]:
        """Where an execution stands."""
        return self.call(EXECUTIONS, "Describe", {"execution_id": execution})

    def history(self, execution: str) -> list[dict[str, Any]]:
        """The events of an execution's newest run."""
        answers = self.call(EXECUTIONS, "History", {"execution_id": execution})
        return [json.loads(answer["event_json"]) for answer in answers]

    def phases(self, execution: str) -> dict[str, str]:
        """The phase of each step."""
        return {step["name"]: step["phase"] for step in self.describe(execution)["steps"]}


def _dict(message: Any) -> dict[str, Any]:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
