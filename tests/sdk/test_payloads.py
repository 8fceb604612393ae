"""Large and foreign payloads arrive as they were sent."""

import uuid

import pytest
from flows.payloads import digest
from harness.client import ok, outputs

MEBIBYTE = 1 << 20
FOREIGN = "Grüße, мир, 世界, 🦀 é\u0000\u2028\"\\ العربية"


@pytest.fixture(autouse=True)
def worker(engine, workers):
    return workers(engine, "payloads")


def test_an_input_of_one_mebibyte_reaches_the_step(client):
    text = ("ü🦀" * MEBIBYTE)[: MEBIBYTE // 3]
    assert len(text.encode()) >= MEBIBYTE - 3
    execution = client.start("measuring", {"text": text}).execution_id
    status = client.completed(execution)
    assert ok(status, "measure") == digest(text)
    assert status.inputs["text"] == text


def test_an_output_of_one_mebibyte_reaches_the_next_step_and_the_reader(client):
    execution = client.start("producing", {"unit": "0123456789abcdef", "times": MEBIBYTE / 16})
    status = client.completed(execution.execution_id)
    text = "0123456789abcdef" * (MEBIBYTE // 16)
    assert ok(status, "consume") == digest(text)
    assert ok(status, "produce") == {"text": text}


def test_names_keys_and_values_of_any_script(engine, client):
    name = f"заказ №1/№2 {uuid.uuid4()} 🦀"
    started = client.start("straße", {"ключ": FOREIGN}, execution_id=name)
    assert started.execution_id == name
    status = client.completed(name)
    assert status.workflow_name == "straße"
    assert outputs(status) == {
        "größe": {"ok": {"ключ": FOREIGN, "länge": len(FOREIGN)}},
        "次": {"ok": FOREIGN[::-1]},
    }
    shown = engine.cli("history", name)
    assert shown.code == 0 and "größe" in shown.out and "次" in shown.out
