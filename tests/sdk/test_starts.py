"""Starting executions: before any worker, twice with one id, of what does not exist; listing them."""

import asyncio
import sys
import time
import uuid

import grpc
import pytest
from cerebelum import DistributedExecutor, ExecutionClient, ExecutionState, ValidationError
from cerebelum.proto import worker_service_pb2 as pb
from cerebelum.types import StepMetadata, WorkflowDefinition
from flows import basic
from flows.serve import definition_of
from harness.client import ok
from harness.engine import parse_commits
from harness.processes import Child, environment, eventually
from harness.worker import SUITE


def test_an_execution_started_before_any_worker_waits_for_one(own_engine, connect, workers):
    engine = own_engine()
    client = connect(engine)
    with DistributedExecutor(core_url=engine.address) as executor:
        started = asyncio.run(executor.execute(definition_of(basic.hello), {"name": "early"}))
    time.sleep(1)
    assert client.status(started.execution_id).status == pb.EXECUTION_RUNNING
    workers(engine, "basic")
    assert ok(client.completed(started.execution_id), "greet") == "Hello, early!"


def test_the_sdks_one_call_starts_first_and_registers_then(own_engine, connect, tmp_path):
    engine = own_engine()
    client = connect(engine)
    argv = [sys.executable, "-m", "flows.one_call", engine.address]
    worker = Child("the kitchen", argv, tmp_path / "kitchen.log", environment(), SUITE)
    try:
        request = pb.ListExecutionsRequest(workflow_name="kitchen", limit=10)
        [listed] = eventually(
            lambda: client.call("ListExecutions", request).executions, "it is listed", 30
        )
        status = client.completed(listed.execution_id)
        assert ok(status, "serve_soup") == "onion soup"
    finally:
        worker.kill9()


def start_commit(engine, execution):
    answer = engine.cli("log", "cat", execution)
    return parse_commits(answer.out)[0]["events"][0]


def test_an_id_used_twice_is_one_execution_while_it_is_open(client):
    client.submit("idle", ("never_served", []))
    name = f"order {uuid.uuid4()}/ä"
    first = client.start("idle", {"n": 1}, execution_id=name)
    second = client.start("idle", {"n": 2}, execution_id=name)
    assert first.execution_id == second.execution_id == name
    assert first.status != "already_running"
    assert second.status == "already_running"
    assert second.started_at == first.started_at
    assert dict(client.status(name).inputs) == {"n": 1}


def test_an_id_used_again_after_the_end_is_a_new_generation(engine, client, workers):
    workers(engine, "basic")
    name = f"again-{uuid.uuid4()}"
    runs = []
    for number in range(3):
        handle = client.start("hello", {"name": f"no. {number}"}, execution_id=name)
        assert handle.execution_id == name
        assert handle.status != "already_running"
        assert ok(client.completed(name), "greet") == f"Hello, no. {number}!"
        start = start_commit(engine, name)
        assert (start["k"], start["generation"]) == ("execution_started", number)
        runs.append(start["run"])
    assert len(set(runs)) == 3


def test_an_unknown_workflow_is_not_found_and_named(engine):
    with (
        DistributedExecutor(core_url=engine.address) as executor,
        pytest.raises(grpc.RpcError) as raised,
    ):
        asyncio.run(executor.execute("no_such_workflow", {}))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert "no_such_workflow" in raised.value.details()


def test_an_unknown_execution_is_not_found_and_named(engine):
    reader = ExecutionClient(core_url=engine.address)
    with pytest.raises(grpc.RpcError) as raised:
        asyncio.run(reader.get_execution_status("no-such-execution"))
    reader.close()
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert "no-such-execution" in raised.value.details()


@pytest.mark.parametrize(
    ("fault", "steps", "named"),
    [
        ("cycle", [("a", ["c"]), ("b", ["a"]), ("c", ["b"])], ["a", "b", "c"]),
        ("self", [("a", []), ("selfish", ["selfish"])], ["selfish"]),
        ("duplicate", [("a", []), ("twice", ["a"]), ("twice", ["a"])], ["twice"]),
        ("missing", [("a", []), ("lonely", ["nowhere"])], ["lonely", "nowhere"]),
        ("empty", [], ["invalid_empty"]),
        ("unnamed", [("a", []), ("", ["a"])], []),
    ],
)
def test_an_invalid_blueprint_is_refused_and_the_fault_named(client, fault, steps, named):
    name = f"invalid_{fault}"
    validation = client.submit(name, *steps)
    assert not validation.valid
    errors = "\n".join(validation.errors)
    assert errors and all(word in errors for word in named), errors
    with pytest.raises(grpc.RpcError) as raised:
        client.start(name)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_sdk_raises_what_the_engine_refuses(engine):
    async def nothing(context):
        pass

    steps = {name: StepMetadata(name, nothing, [other]) for name, other in ("xy", "yx")}
    circle = WorkflowDefinition(id="circle", timeline=["x", "y"], steps_metadata=steps)
    with (
        DistributedExecutor(core_url=engine.address) as executor,
        pytest.raises(ValidationError, match="x"),
    ):
        asyncio.run(executor.execute(circle, {}))


def test_the_sdks_empty_filters_list_everything(own_engine, connect, workers):
    engine = own_engine()
    client = connect(engine)
    workers(engine, "basic")
    client.submit("idle", ("never_served", []))
    done = {client.start("hello", {"name": str(number)}).execution_id for number in range(3)}
    for execution in done:
        client.completed(execution)
    idle = client.start("idle").execution_id
    reader = ExecutionClient(core_url=engine.address)

    def listed(**filters):
        executions, total, has_more = asyncio.run(reader.list_executions(**filters))
        return [execution.execution_id for execution in executions], total, has_more

    # Lists are eventually consistent: at once on the embedded store, seconds behind on others.
    eventually(
        lambda: listed(status=ExecutionState.COMPLETED)[1] == 3 and listed()[1] == 4,
        "all four are listed",
    )
    everything, total, has_more = listed()
    assert (set(everything), total, has_more) == (done | {idle}, 4, False)
    assert everything[0] == idle, "newest first"
    assert set(listed(workflow_name="hello")[0]) == done
    assert listed(status=ExecutionState.RUNNING)[0] == [idle]
    assert listed(workflow_name="hello", status=ExecutionState.RUNNING)[0] == []
    first, total, has_more = listed(limit=3)
    rest, _, has_more_after = listed(limit=3, offset=3)
    assert (len(first), total, has_more, has_more_after) == (3, 4, True, False)
    assert set(first) | set(rest) == done | {idle}
    [active] = asyncio.run(reader.list_active_workflows())
    assert (active.execution_id, active.workflow_name) == (idle, "idle")
    reader.close()


def test_an_execution_that_takes_too_long_fails(own_engine, connect):
    # Without timers in memory, the guard is what notices.
    client = connect(own_engine("--guard-interval", "2s"))
    client.submit("idle", ("never_served", []))
    execution = client.start("idle", timeout_ms=1000).execution_id
    status = client.failed(execution)
    assert status.error.kind == "timeout"
    took = status.completed_at.ToMilliseconds() - status.started_at.ToMilliseconds()
    assert took >= 1000
