"""After a bug was mended, a worker came late, or an attempt failed: executions go on."""

import asyncio
import json
import time

import pytest
from cerebelum import ExecutionClient, ExecutionState
from cerebelum.proto import worker_service_pb2 as pb
from flows import traces
from harness.cases import CAMPING
from harness.client import ok, outputs
from harness.engine import kinds, results
from harness.own import WORKERS
from harness.processes import eventually


@pytest.fixture
def reader(own_engine):
    """The SDK's own client, on an engine of its own."""
    engine = own_engine()
    reader = ExecutionClient(core_url=engine.address)
    reader.engine = engine
    yield reader
    reader.close()


def listed(reader, **filters):
    executions, total, has_more = asyncio.run(reader.list_executions(**filters))
    assert total == len(executions) and not has_more
    return [(it.execution_id, it.status) for it in executions]


def test_a_failed_execution_goes_on_when_its_worker_was_mended(reader, connect, workers, tmp_path):
    engine, client = reader.engine, connect(reader.engine)
    broken = workers(engine, "repairs")
    kept = client.start("analysing", {"rows": 4}, execution_id="kept").execution_id
    client.failed(kept)
    anew = client.start("analysing", {"rows": 5}, execution_id="anew").execution_id
    client.failed(anew)
    failed = [(anew, ExecutionState.FAILED), (kept, ExecutionState.FAILED)]
    eventually(lambda: listed(reader, status=ExecutionState.FAILED) == failed, "they are listed")
    broken.kill9()
    workers(engine, "repaired")

    assert asyncio.run(reader.resume_execution(kept)) == "resumed"
    assert asyncio.run(reader.resume_execution(anew, skip_completed_steps=False)) == "resumed"
    for execution, rows in ((kept, 4), (anew, 5)):
        status = client.completed(execution)
        assert ok(status, "report") == [rows, 2 * rows + 1]
        assert (status.current_step_index, status.total_steps) == (4, 4)
    # What was done is done, unless all was to run again.
    for execution, runs in ((kept, 1), (anew, 2)):
        assert traces.count(tmp_path, f"collect-{execution}") == runs
        assert traces.count(tmp_path, f"clean-{execution}") == runs
    assert results(engine.events(kept)) == {"analyse": 1, "report": 1}
    assert kinds(engine.events(kept)).count("result_kept") == 2
    assert set(results(engine.events(anew)).values()) == {1}
    assert len(results(engine.events(anew))) == 4
    # The times of what was kept are those at which it ran.
    steps = {step.step_name: step for step in client.status(kept).completed_steps}
    began = client.status(kept).started_at.ToNanoseconds()
    assert steps["collect_data"].completed_at.ToNanoseconds() <= began

    done = [(anew, ExecutionState.COMPLETED), (kept, ExecutionState.COMPLETED)]
    eventually(
        lambda: sorted(listed(reader)) == sorted(done), "each is listed once, as completed"
    )
    assert listed(reader, status=ExecutionState.FAILED) == []
    assert asyncio.run(reader.resume_execution(kept)) == "failed_to_resume"


def test_a_resumed_execution_that_fails_again_can_be_resumed_again(
    reader, connect, workers, tmp_path
):
    engine, client = reader.engine, connect(reader.engine)
    broken = workers(engine, "repairs")
    execution = client.start("analysing", {"rows": 1}, execution_id="twice").execution_id
    client.failed(execution)
    assert asyncio.run(reader.resume_execution(execution)) == "resumed"
    # Nobody says whether it waits or has failed again: both are states of the new run.
    client.failed(execution)
    broken.kill9()
    assert asyncio.run(reader.resume_execution(execution)) == "resumed"
    assert asyncio.run(reader.resume_execution(execution)) == "already_running"
    workers(engine, "repaired")
    assert ok(client.completed(execution), "report") == [1, 3]
    assert traces.count(tmp_path, f"collect-{execution}") == 1


def test_a_loop_that_was_stopped_is_not_left_by_resuming_it(own_engine, connect, workers):
    engine = own_engine("--max-iterations", "2")
    client = connect(engine)
    workers(engine, "knots")
    execution = client.start("dining").execution_id
    request = pb.ResumeExecutionRequest(execution_id=execution, skip_completed_steps=True)
    assert client.failed(execution).error.kind == "loop_limit"
    assert client.call("ResumeExecution", request).status == "resumed"
    status = client.failed(execution)
    assert status.error.kind == "loop_limit" and "wash_up" not in status.step_outputs
    # With more rounds allowed, it goes on in the round in which it was stopped.
    engine.kill9()
    engine.options[engine.options.index("--max-iterations") + 1] = "3"
    engine.start()
    assert client.call("ResumeExecution", request).status == "resumed"
    assert outputs(client.completed(execution))["wash_up"] == {"value": 220}
    counted = results(engine.events(execution))
    assert counted.pop("eat") == 2, "again in the second round, and once in the third"
    assert counted == dict.fromkeys(["set_table", "cook_rice", "cook_fish", "wash_up"], 1)


def test_what_ran_out_of_time_or_was_cancelled_can_be_resumed_too(engine, client, workers):
    workers(engine, "approvals")
    inputs = {"page": 7, "timeout_ms": 0}
    late = client.start("signing", inputs, timeout_ms=400).execution_id
    cancelled = client.start("signing", inputs).execution_id
    client.wait_for(cancelled, pb.EXECUTION_WAITING_FOR_APPROVAL)
    assert engine.cli("cancel", cancelled).code == 0
    for execution, kind in ((late, "timeout"), (cancelled, "cancelled")):
        assert client.failed(execution).error.kind == kind
        # The time of an execution begins anew; this one asks a person again at once.
        request = pb.ResumeExecutionRequest(execution_id=execution, skip_completed_steps=True)
        assert client.call("ResumeExecution", request).status == "resumed"
        client.wait_for(execution, pb.EXECUTION_WAITING_FOR_APPROVAL)
        assert engine.cli("approve", execution, "--data", '{"by": "Zoë"}').code == 0
        assert ok(client.completed(execution), "file_away") == "signed by Zoë"


def test_a_step_that_nobody_has_is_named_until_a_worker_with_it_comes(
    engine, client, lazarus, workers
):
    workers(engine, "latecomer", "--only", "announce")
    execution = client.start("travelling", {"train": "the 7:15"}).execution_id
    eventually(lambda: "announce" in client.status(execution).step_outputs, "one step is done")

    def notes():
        return lazarus.describe(execution)["notes"]

    note = "no worker announces step `arrive`; start one that has it"
    eventually(lambda: notes() == [note], "the other has nobody")
    answer = engine.cli("status", execution, "--json")
    assert json.loads(answer.out)["notes"] == [note]
    assert note in engine.cli("status", execution).out
    status = client.status(execution)
    assert (status.status, status.current_step_name) == (pb.EXECUTION_RUNNING, "arrive")
    workers(engine, "latecomer")
    assert ok(client.completed(execution), "arrive") == "the 7:15 has arrived"
    assert notes() == []


def retried(lazarus, name, **policy):
    """Submits `camping` as `name` with another policy."""
    blueprint = json.loads(json.dumps(CAMPING)) | {"workflow_module": name}
    blueprint["definition"]["timeline"][0]["retry"] |= policy
    answer = lazarus.call(WORKERS, "SubmitBlueprint", blueprint)
    assert answer["valid"], answer


def test_a_step_that_fails_is_tried_again_as_its_blueprint_says(engine, client, lazarus, workers):
    workers(engine, "stubborn")
    retried(lazarus, "camping_patiently")
    execution = client.start("camping_patiently").execution_id
    assert ok(client.completed(execution), "warm_hands") == "warm by the fire"
    of_step = [e for e in engine.events(execution) if e.get("step") == "light_match"]
    failures = [event for event in of_step if event["k"] == "step_retried"]
    assert [event["attempt"] for event in failures] == [1, 2]
    assert "the wind blew out match 2" in failures[1]["error"]["message"]
    scheduled = [event for event in of_step if event["k"] == "step_scheduled"]
    waits = [event["not_before"] - event["t"] for event in scheduled[1:]]
    assert waits == [50, 100], "twice as long each time"
    began = [event for event in of_step if event["k"] == "step_started"]
    for schedule, start in zip(scheduled[1:], began[1:], strict=True):
        assert start["t"] >= schedule["not_before"]
    assert results(engine.events(execution)) == {"light_match": 1, "warm_hands": 1}
    [step, _] = client.status(execution).completed_steps
    assert (step.step_name, step.status) == ("light_match", "completed")


def test_a_step_that_fails_too_often_or_for_another_reason_fails_its_execution(
    engine, client, lazarus, workers
):
    workers(engine, "stubborn")
    retried(lazarus, "camping_briefly", max_attempts=2)
    retried(lazarus, "camping_strictly", non_retryable_kinds=["step_error"])
    for name, match in (("camping_briefly", 2), ("camping_strictly", 1)):
        status = client.failed(client.start(name).execution_id)
        assert f"match {match}" in status.error.message


def test_while_a_step_waits_to_be_tried_again_its_status_says_why(engine, client, lazarus, workers):
    workers(engine, "stubborn")
    retried(lazarus, "camping_slowly", initial_delay_ms=1500)
    execution = client.start("camping_slowly").execution_id
    began = time.monotonic()
    [note] = eventually(lambda: lazarus.describe(execution)["notes"], "it waits")
    assert "step `light_match` failed" in note and "the wind blew out match 1" in note, note
    assert "it is tried again in" in note and time.monotonic() - began < 1.4
    step = lazarus.describe(execution)["steps"][0]
    assert (step["phase"], step["attempt"]) == ("ready", 2)
    assert "match 1" in step["error"]["message"]
    assert engine.cli("cancel", execution).code == 0
