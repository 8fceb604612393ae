"""Sleeps and approvals: durable, on time, and visible while they last."""

import asyncio

import pytest
from cerebelum import ExecutionClient
from cerebelum.proto import worker_service_pb2 as pb
from flows import traces
from harness.client import ok, outputs
from harness.engine import results

MILLIS = 1500


@pytest.fixture(autouse=True)
def worker(engine, workers):
    return workers(engine, "waits")


def assert_slept_in_full(events, step):
    """The engine's own record: the sleep ended once, and not before it was due."""
    [started] = [e for e in events if e["k"] == "sleep_started" and e["step"] == step]
    [ended] = [e for e in events if e["k"] == "sleep_ended" and e["step"] == step]
    assert started["duration_ms"] == MILLIS
    assert ended["t"] >= started["until"]


def test_a_sleep_is_visible_carries_its_data_and_never_ends_early(engine, client, tmp_path):
    execution = client.start("napping", {"millis": MILLIS}).execution_id
    sleeping = client.wait_for(execution, pb.EXECUTION_SLEEPING)
    assert sleeping.current_step_name == "nap"
    assert sleeping.sleep_info.duration_ms == MILLIS
    assert 0 < sleeping.sleep_info.remaining_ms <= MILLIS
    assert sleeping.sleep_info.HasField("sleep_started_at")

    status = client.completed(execution)
    slept = ok(status, "after_nap")["slept"]
    assert MILLIS / 1000 <= slept < MILLIS / 1000 + 5, f"slept {slept:.3f} s"
    assert set(outputs(status)["nap"]) == {"slept_from"}
    assert not status.HasField("sleep_info")
    # The step asked once and was not run again.
    assert traces.count(tmp_path, "nap") == 1
    events = engine.events(execution)
    assert_slept_in_full(events, "nap")
    assert results(events) == {"nap": 1, "after_nap": 1}


def test_a_sleep_by_the_marker_of_older_sdks_is_the_same(engine, client):
    execution = client.start("old_napping", {"millis": MILLIS}).execution_id
    assert client.wait_for(execution, pb.EXECUTION_SLEEPING).sleep_info.duration_ms == MILLIS
    status = client.completed(execution)
    assert outputs(status)["after_old_nap"]["slept"] >= MILLIS / 1000
    assert_slept_in_full(engine.events(execution), "old_nap")


def test_the_sdks_client_reads_a_sleep(engine, client):
    execution = client.start("napping", {"millis": MILLIS}).execution_id
    client.wait_for(execution, pb.EXECUTION_SLEEPING)
    reader = ExecutionClient(core_url=engine.address)
    status = asyncio.run(reader.get_execution_status(execution))
    assert asyncio.run(reader.resume_execution(execution)) == "already_running"
    reader.close()
    assert status.status.value == "EXECUTION_SLEEPING"
    assert status.sleep_info.data["slept_from"] > 0
    client.completed(execution)


def pending(client, **inputs):
    execution = client.start("publishing", {"document": "d-7", **inputs}).execution_id
    return execution, client.wait_for(execution, pb.EXECUTION_WAITING_FOR_APPROVAL)


def test_an_approval_waits_and_says_for_what(client, tmp_path):
    execution, status = pending(client)
    assert status.current_step_name == "review"
    assert status.approval_info.approval_type == "legal"
    assert dict(status.approval_info.data) == {"document": "d-7"}
    assert status.approval_info.timeout_ms == 0
    assert status.approval_info.HasField("requested_at")
    assert traces.count(tmp_path, "publish") == 0


def test_an_approved_step_has_the_response_as_its_output(engine, client, tmp_path):
    execution, _ = pending(client)
    answer = engine.cli("approve", execution, "--data", '{"by": "Zoë"}')
    assert answer.code == 0, answer
    status = client.completed(execution)
    assert outputs(status)["review"] == {"by": "Zoë"}
    assert ok(status, "publish") == {"published_by": "Zoë"}
    assert traces.count(tmp_path, "review") == traces.count(tmp_path, "publish") == 1
    assert results(engine.events(execution)) == {"review": 1, "publish": 1}
    # Once is enough: there is nothing left to approve.
    assert engine.cli("approve", execution, "--data", '{"by": "Eve"}').code == 1


def test_a_rejected_approval_fails_the_execution_with_the_reason(engine, client, tmp_path):
    execution, _ = pending(client)
    answer = engine.cli("reject", execution, "--reason", "clause 4 is missing")
    assert answer.code == 0, answer
    status = client.failed(execution)
    assert status.error.kind == "approval_rejected"
    assert "clause 4 is missing" in status.error.message
    assert traces.count(tmp_path, "publish") == 0


def test_an_approval_that_nobody_gives_times_out(engine, client, tmp_path):
    execution, status = pending(client, timeout_ms=MILLIS)
    assert status.approval_info.timeout_ms == MILLIS
    assert 0 < status.approval_info.remaining_timeout_ms <= MILLIS
    status = client.failed(execution)
    assert status.error.kind == "approval_timeout"
    assert traces.count(tmp_path, "publish") == 0
    [asked] = [e for e in engine.events(execution) if e["k"] == "approval_requested"]
    [ended] = [e for e in engine.events(execution) if e["k"] == "approval_timed_out"]
    assert ended["t"] >= asked["due"]


def test_a_cancelled_sleep_never_goes_on(engine, client, tmp_path):
    execution = client.start("napping", {"millis": MILLIS}).execution_id
    client.wait_for(execution, pb.EXECUTION_SLEEPING)
    assert engine.cli("cancel", execution).code == 0
    status = client.failed(execution)
    assert status.error.kind == "cancelled"
    assert "after_nap" not in status.step_outputs
