"""The SDK's second worker, `python -m cerebelum.worker`, unmodified: TLS with client certificates."""

import time

import grpc
import pytest
from cerebelum.proto import worker_service_pb2 as pb
from cerebelum.proto.worker_service_pb2_grpc import WorkerServiceStub
from flows import traces
from harness.client import ok, outputs
from harness.engine import TlsEngine, kinds, make_certificates, results
from harness.processes import eventually
from harness.worker import SUITE, GenericWorker

PROJECT = SUITE / "flows" / "generic" / "workflow.py"
PUBLISHING = [
    ("draft", []),
    ("settle", ["draft"]),
    ("review", ["draft", "settle"]),
    ("publish", ["draft", "review"]),
]


@pytest.fixture
def certificates(tmp_path):
    return make_certificates(tmp_path / "certs")


@pytest.fixture
def engine(tmp_path, certificates, request):
    engine = TlsEngine(tmp_path / "engine", certificates)
    request.node.logs = [("engine", engine.log), ("worker", tmp_path / "generic.log")]
    yield engine.start()
    engine.stop()


@pytest.fixture
def client(engine, connect):
    """On the listener without TLS: the generic worker submits no blueprint and starts nothing."""
    client = connect(engine)
    assert client.submit("publishing", *PUBLISHING).valid
    return client


@pytest.fixture
def worker(engine, certificates, tmp_path):
    worker = GenericWorker(engine.tls_port, PROJECT, certificates, tmp_path)
    yield worker.wait_until_registered()
    if worker.is_up():
        worker.kill9()


def approve(engine, execution):
    answer = engine.cli("approve", execution, "--data", '{"by": "Zoë"}')
    assert answer.code == 0, answer


def assert_published(engine, status, execution, tmp_path):
    assert ok(status, "publish") == {"text": "Terms, in full", "by": "Zoë"}
    events = engine.events(execution)
    assert results(events) == {"draft": 1, "settle": 1, "review": 1, "publish": 1}
    [slept] = [event for event in events if event["k"] == "sleep_started"]
    [woke] = [event for event in events if event["k"] == "sleep_ended"]
    assert slept["duration_ms"] == 2500
    assert woke["t"] >= slept["until"], "the sleep ended early, by the engine's clock"
    assert "step_failed" not in kinds(events)
    for step in ("draft", "settle", "review", "publish"):
        assert traces.count(tmp_path, step) == 1, step


def test_a_step_a_sleep_and_an_approval(engine, client, worker, tmp_path):
    execution = client.start("publishing", {"title": "Terms"}).execution_id
    sleeping = client.wait_for(execution, pb.EXECUTION_SLEEPING)
    assert sleeping.current_step_name == "settle"
    assert ok(sleeping, "draft") == {"text": "Terms, in full", "context": "None"}
    waiting = client.wait_for(execution, pb.EXECUTION_WAITING_FOR_APPROVAL)
    assert waiting.approval_info.approval_type == "legal"
    assert waiting.approval_info.timeout_ms == 0
    assert outputs(waiting)["settle"] == {}
    approve(engine, execution)
    assert_published(engine, client.completed(execution), execution, tmp_path)
    assert worker.is_up()


def test_the_worker_goes_on_with_an_engine_that_was_killed(engine, client, worker, tmp_path):
    execution = client.start("publishing", {"title": "Terms"}).execution_id
    client.wait_for(execution, pb.EXECUTION_SLEEPING)
    time.sleep(0.5)  # the worker's next poll is parked at the engine
    engine.kill9()
    time.sleep(1)
    engine.start()
    client.wait_for(execution, pb.EXECUTION_WAITING_FOR_APPROVAL, 60)
    engine.kill9()
    engine.start()
    approve(engine, execution)
    assert_published(engine, client.completed(execution, 60), execution, tmp_path)
    assert worker.is_up()
    assert worker.output().count("Worker registered") == 1, "it never registers again"


def test_a_step_is_told_apart_that_takes_inputs_beside_what_it_depends_on(client, worker):
    assert client.submit("late", ("draft", []), ("late", ["draft"])).valid
    status = client.completed(client.start("late", {"title": "Terms"}).execution_id)
    assert ok(status, "late") == {"title": "Terms", "text": "Terms, in full"}


def test_a_step_that_raises_fails_the_execution_with_its_message(client, worker):
    assert client.submit("breaking", ("breaking", [])).valid
    status = client.failed(client.start("breaking", {"title": "luck"}).execution_id)
    assert (status.error.kind, status.error.message) == ("step_error", "no luck")
    assert worker.is_up()


def secure_channel(engine, trusted, identity=None):
    own = {}
    if identity is not None:
        own["private_key"] = (identity / "client.key").read_bytes()
        own["certificate_chain"] = (identity / "client.crt").read_bytes()
    credentials = grpc.ssl_channel_credentials((trusted / "ca.crt").read_bytes(), **own)
    # Each attempt with a connection of its own.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    return grpc.secure_channel(f"localhost:{engine.tls_port}", credentials, options)


def asked_over(channel):
    """The code of the answer to a call, or of the refusal."""
    with channel:
        try:
            WorkerServiceStub(channel).ListExecutions(pb.ListExecutionsRequest(), timeout=10)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_who_has_no_certificate_of_the_ca_gets_no_answer(engine, certificates, tmp_path):
    other = make_certificates(tmp_path / "other")
    refused = grpc.StatusCode.UNAVAILABLE
    assert asked_over(secure_channel(engine, certificates, certificates)) is grpc.StatusCode.OK
    assert asked_over(secure_channel(engine, certificates)) is refused
    assert asked_over(secure_channel(engine, certificates, other)) is refused
    # Nor does a client talk to a server that its own CA does not know.
    assert asked_over(secure_channel(engine, other, certificates)) is refused
    assert asked_over(grpc.insecure_channel(f"localhost:{engine.tls_port}")) is refused
    assert asked_over(secure_channel(engine, certificates, certificates)) is grpc.StatusCode.OK
    log = engine.log.read_text()
    assert log.count("a TLS handshake was refused") >= 3, log


def test_a_worker_with_a_certificate_of_another_ca_says_so_and_ends(engine, tmp_path, certificates):
    other = make_certificates(tmp_path / "other")
    (other / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    worker = GenericWorker(engine.tls_port, PROJECT, other, tmp_path)
    eventually(lambda: not worker.is_up(), "it ends", 30)
    assert worker.wait(5) == 1
    assert "Registration error" in worker.output()
