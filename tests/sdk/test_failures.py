"""A step that fails ends its execution, and says why."""

import pytest
from cerebelum.proto import worker_service_pb2 as pb
from flows import traces
from harness.engine import results


@pytest.fixture(autouse=True)
def worker(engine, workers):
    return workers(engine, "failing")


def test_an_exception_of_a_step_surfaces_with_its_message(engine, client, tmp_path):
    execution = client.start("purchase", {"card": "4711"}).execution_id
    status = client.failed(execution)
    assert "the card 4711 was declined" in status.error.message
    [charge] = [step for step in status.completed_steps if step.step_name == "charge"]
    assert charge.status == "failed"
    assert "the card 4711 was declined" in charge.error.message
    assert "ship" not in status.step_outputs
    assert traces.count(tmp_path, "ship") == 0
    assert results(engine.events(execution)) == {"charge": 1}
    assert "the card 4711 was declined" in engine.cli("history", execution).out


def test_an_error_envelope_is_a_failure(client):
    status = client.failed(client.start("stocktaking").execution_id)
    assert status.error.message == "stock is empty"


def test_an_undecorated_step_fails_with_its_class_and_its_stack(client):
    status = client.failed(client.start("refunding").execution_id)
    assert status.error.kind == "KeyError"
    assert "no such payment" in status.error.message
    assert "Traceback" in status.error.stacktrace and "in refund" in status.error.stacktrace


def test_a_result_that_can_not_travel_is_a_failure(client):
    status = client.failed(client.start("exporting").execution_id)
    assert status.error.message


def test_resuming_what_is_not_mended_fails_again_in_a_run_of_its_own(engine, client):
    execution = client.start("stocktaking").execution_id
    client.failed(execution)
    request = pb.ResumeExecutionRequest(execution_id=execution, skip_completed_steps=True)
    assert client.call("ResumeExecution", request).status == "resumed"
    assert client.failed(execution).error.message == "stock is empty"
    assert engine.commits(execution)[0]["events"][0]["generation"] == 1


def test_the_worker_goes_on_after_failures(client, worker):
    for card in ("1", "2"):
        client.failed(client.start("purchase", {"card": card}).execution_id)
    worker.require_up()
    assert worker.registrations() == 1
