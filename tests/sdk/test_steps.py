"""Steps run, in order or in parallel, and their data arrives."""

import asyncio

from cerebelum import DistributedExecutor, ExecutionClient, ExecutionState
from cerebelum.proto import worker_service_pb2 as pb
from flows import arguments, basic, traces
from flows.serve import definition_of
from harness.client import ok, outputs
from harness.engine import kinds, results


def test_hello_world_through_the_sdks_own_executor_and_client(engine, workers):
    workers(engine, "basic")
    with DistributedExecutor(core_url=engine.address) as executor:
        started = asyncio.run(executor.execute(definition_of(basic.hello), {"name": "Ada"}))
    assert started.execution_id and started.started_at

    reader = ExecutionClient(core_url=engine.address)

    async def until_completed():
        while (status := await reader.get_execution_status(started.execution_id)).status in {
            ExecutionState.RUNNING
        }:
            await asyncio.sleep(0.05)
        return status

    status = asyncio.run(asyncio.wait_for(until_completed(), 20))
    reader.close()
    assert status.status is ExecutionState.COMPLETED
    assert status.workflow_name == "hello"
    assert status.inputs == {"name": "Ada"}
    assert status.step_outputs == {"greet": {"ok": "Hello, Ada!"}}
    assert status.progress_percentage == 100
    assert status.error is None and status.sleep_info is None and status.approval_info is None
    assert status.completed_at >= status.started_at
    [greet] = status.completed_steps
    assert (greet.step_name, greet.step_index, greet.status) == ("greet", 0, "completed")
    assert greet.output == {"ok": "Hello, Ada!"}


def test_a_chain_passes_data_of_every_type(engine, client, workers):
    workers(engine, "basic")
    execution = client.start("billing", {"net": 100}).execution_id
    status = client.completed(execution)
    assert ok(status, "order") == {"net": 100, "articles": ["pen", "paper"], "gift": None}
    assert ok(status, "tax") == 25
    assert ok(status, "label") == "2 articles, gift: None, tax 25.00"
    assert ok(status, "invoice") == {"text": "2 articles, gift: None, tax 25.00", "total": 125}
    assert [step.step_name for step in status.completed_steps] == [
        "order",
        "tax",
        "label",
        "invoice",
    ]
    assert status.current_step_index == status.total_steps == 4
    assert results(engine.events(execution)) == {"order": 1, "tax": 1, "label": 1, "invoice": 1}


def test_steps_without_data_flow_keep_the_order_of_the_timeline(engine, client, workers, tmp_path):
    for _ in range(2):
        workers(engine, "basic")
    execution = client.start("book", {"title": "Emil"}).execution_id
    status = client.completed(execution)
    assert outputs(status)["lay_out"] == {"ok": None}
    assert ok(status, "bind") == "Emil"
    assert (tmp_path / "order.trace").read_text().split() == ["lay_out", "print_out", "bind"]


def test_parallel_steps_run_at_the_same_time_in_two_workers(engine, client, workers):
    for _ in range(2):
        workers(engine, "fan")
    execution = client.start("fan", {"parts": ["a", "b"]}).execution_id
    status = client.completed(execution)
    left, right, join = (ok(status, step) for step in ("left", "right", "join"))
    assert left["process"] != right["process"]
    overlap = min(left["ended"], right["ended"]) - max(left["started"], right["started"])
    assert overlap > 0.5, f"they overlapped for {overlap:.3f} s of 1.5 s"
    assert join["parts"] == ["a", "b"]
    assert join["started"] >= max(left["ended"], right["ended"])
    assert results(engine.events(execution)) == {"split": 1, "left": 1, "right": 1, "join": 1}


def test_a_step_that_takes_outputs_and_inputs_gets_both(engine, client, workers, tmp_path):
    assert definition_of(arguments.converting).steps_metadata["convert"].has_inputs
    workers(engine, "arguments")
    for amount in (2, 5):
        execution = client.start("converting", {"amount": amount, "rate": 3}).execution_id
        assert ok(client.completed(execution), "convert") == 3 * amount
    # The engine's wrong guess failed before the body, and counted as nothing.
    assert traces.count(tmp_path, "fetch") == traces.count(tmp_path, "convert") == 2
    events = engine.events(execution)
    assert results(events) == {"fetch": 1, "convert": 1}
    assert all(event.get("attempt", 1) == 1 for event in events)


def test_a_step_that_takes_nothing_is_called_with_nothing(engine, client, workers, tmp_path):
    workers(engine, "arguments")
    execution = client.start("clockwork", {"unused": True}).execution_id
    status = client.completed(execution)
    assert ok(status, "tock") == "tick tock"
    assert traces.count(tmp_path, "tick") == traces.count(tmp_path, "tock") == 1
    assert "inputs_adapted" in kinds(engine.events(execution), "tick")


def test_two_workflows_that_share_a_step_name_each_run_their_own(engine, client, workers):
    workers(engine, "twin_red")
    workers(engine, "twin_blue")
    started = [
        (color, number, client.start(f"{color}_twin", {"number": number}).execution_id)
        for number in range(6)
        for color in ("red", "blue")
    ]
    for color, number, execution in started:
        assert ok(client.completed(execution), "wrap_up") == f"{color} {number}"


def test_a_running_execution_says_where_it_is(engine, client, workers):
    workers(engine, "fan")
    execution = client.start("fan", {"parts": ["a", "b"]}).execution_id
    status = client.status(execution)
    assert (status.status, status.total_steps) == (pb.EXECUTION_RUNNING, 4)
    assert status.current_step_index < 4
    assert not status.HasField("completed_at") and not status.HasField("error")
    client.completed(execution)
