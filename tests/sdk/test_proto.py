"""The engine's interface against the SDK's: the same numbers, types and names; more only from 100.

What the engine serves is asked of its own reflection, so no generated file can be stale here.
"""

import grpc
import pytest
from cerebelum.proto import worker_service_pb2 as pb
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

FIRST_OWN_NUMBER = 100
SERVICE = "cerebelum.worker.WorkerService"


def served_file(address):
    """The .proto file that defines the service, as the engine itself describes it."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        # Both versions of the reflection service have the same messages; the stubs know the older.
        reflect = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        [reply] = reflect(iter([request]), timeout=20)
    files = map(
        descriptor_pb2.FileDescriptorProto.FromString,
        reply.file_descriptor_response.file_descriptor_proto,
    )
    return next(file for file in files if any(s.name == "WorkerService" for s in file.service))


@pytest.fixture(scope="module")
def ours(engine):
    return served_file(engine.address)


@pytest.fixture(scope="module")
def theirs():
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    return file


def shape(field):
    """What decides how a field stands on the wire and in the generated code."""
    return (field.name, field.type, field.label, field.type_name, field.proto3_optional)


def messages(container, prefix=""):
    """Every message by its name, nested ones (of maps) too."""
    found = {}
    for message in getattr(container, "message_type", None) or container.nested_type:
        found[prefix + message.name] = message
        if message.nested_type:
            found |= messages(message, f"{prefix}{message.name}.")
    return found


def test_every_message_has_the_sdks_fields(ours, theirs):
    assert ours.package == theirs.package and ours.syntax == theirs.syntax
    own = messages(ours)
    for name, message in messages(theirs).items():
        assert name in own, f"message {name} is missing"
        fields = {field.number: shape(field) for field in own[name].field}
        for field in message.field:
            assert fields.get(field.number) == shape(field), f"{name}, field {field.number}"
        assert own[name].options.map_entry == message.options.map_entry


def test_our_additions_start_at_100(ours, theirs):
    published = messages(theirs)
    for name, message in messages(ours).items():
        if name not in published or message.options.map_entry:
            continue
        known = {field.number for field in published[name].field}
        added = {field.name: field.number for field in message.field if field.number not in known}
        assert all(number >= FIRST_OWN_NUMBER for number in added.values()), (name, added)


def test_every_enum_has_the_sdks_values(ours, theirs):
    own = {enum.name: {(v.name, v.number) for v in enum.value} for enum in ours.enum_type}
    for enum in theirs.enum_type:
        published = {(value.name, value.number) for value in enum.value}
        assert published <= own[enum.name], enum.name
        assert all(number >= FIRST_OWN_NUMBER for _, number in own[enum.name] - published)


def test_the_service_has_the_sdks_methods(ours, theirs):
    def methods(file):
        [service] = file.service
        return {
            (m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming)
            for m in service.method
        }

    assert len(methods(theirs)) == 10
    assert methods(ours) >= methods(theirs)
    added = {name for name, *_ in methods(ours) - methods(theirs)}
    assert added == {"ApproveStep", "RejectStep"}
