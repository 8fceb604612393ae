"""Workers and engines die, and the executions come back: the reason that this project exists."""

import random
import time

import pytest
from flows import traces
from harness.client import ok
from harness.engine import kinds, results
from harness.processes import eventually


def test_a_step_whose_worker_dies_is_run_again_by_another(own_engine, connect, workers, tmp_path):
    engine = own_engine("--lease", "2s", "--guard-interval", "2s")
    client = connect(engine)
    victim = workers(engine, "held")
    execution = client.start("holding", {"case": "death"}).execution_id
    eventually(lambda: traces.count(tmp_path, "hold-death") == 1, "the step is under way")
    victim.kill9()
    heir = workers(engine, "held")
    status = client.completed(execution, 60)
    assert ok(status, "hold") == {"process": heir.pid}
    assert ok(status, "release") == heir.pid
    assert traces.count(tmp_path, "hold-death") == 2
    events = engine.events(execution)
    assert results(events) == {"hold": 1, "release": 1}
    lost = [event for event in events if event["k"] == "attempt_lost"]
    assert [(event["step"], event["attempt"]) for event in lost] == [("hold", 1)]
    started = [e["worker"] for e in events if e["k"] == "step_started" and e["step"] == "hold"]
    assert (started[0], started[-1]) == (victim.worker_id, heir.worker_id)


def test_a_worker_without_the_step_is_passed_over(own_engine, connect, workers):
    engine = own_engine()
    client = connect(engine)
    # Announces nothing, so the engine can not know; its SDK answers `not_found`.
    useless = workers(engine, "basic", "--only", "")
    execution = client.start("hello", {"name": "you"}).execution_id
    eventually(lambda: "Received task: greet" in useless.output(), "it was asked")
    workers(engine, "basic")
    assert ok(client.completed(execution), "greet") == "Hello, you!"
    events = engine.events(execution)
    rerouted = [event["worker"] for event in events if event["k"] == "step_rerouted"]
    assert set(rerouted) == {useless.worker_id}
    assert results(events) == {"greet": 1}


def test_a_polling_worker_finds_a_killed_and_restarted_engine_again(own_engine, connect, workers):
    engine = own_engine()
    client = connect(engine)
    worker = workers(engine, "basic")
    assert ok(client.completed(client.start("hello", {"name": "1"}).execution_id), "greet")
    before = client.start("book", {"title": "kept"}).execution_id
    client.completed(before)
    time.sleep(0.5)  # the worker's next poll is parked at the engine
    engine.kill9()
    time.sleep(3)  # long enough for three failed polls, after which the SDK registers again
    engine.start()
    started = client.start("hello", {"name": "2"}).execution_id
    assert ok(client.completed(started, 60), "greet") == "Hello, 2!"
    assert ok(client.completed(before), "bind") == "kept"
    worker.require_up()
    assert worker.registrations() >= 2


def test_an_engine_that_is_asked_to_stop_answers_its_polls_and_ends(own_engine, connect, workers):
    engine = own_engine()
    client = connect(engine)
    workers(engine, "basic")
    time.sleep(0.5)  # the worker's poll is parked for 30 s
    asked = time.monotonic()
    assert engine.running.terminate(12) == 0
    assert time.monotonic() - asked < 10
    engine.start()
    started = client.start("hello", {"name": "back"}).execution_id
    assert ok(client.completed(started, 60), "greet") == "Hello, back!"


def test_a_sleep_that_ends_while_the_engine_is_down_ends_when_it_is_back(
    own_engine, connect, workers
):
    engine = own_engine()
    client = connect(engine)
    workers(engine, "survivor")
    execution = client.start("surviving", {"number": 1}).execution_id
    eventually(lambda: "sleep_started" in kinds(engine.events(execution)), "it sleeps")
    engine.kill9()
    time.sleep(2.5)
    engine.start()
    back = time.monotonic()
    eventually(lambda: "sleep_ended" in kinds(engine.events(execution)), "it wakes", 30)
    assert time.monotonic() - back < 10
    assert ok(client.completed(execution, 60), "finish")["rested"] >= 1.5


KILLS = 6
EXECUTIONS = 8


def assert_survived(engine, client, name):
    status = client.completed(name, 60)
    assert ok(status, "finish")["rested"] >= 1.5, "the sleep ended early, by the worker's clock"
    events = engine.events(name)
    assert results(events) == {"begin": 1, "rest": 1, "finish": 1}, events
    [slept] = [event for event in events if event["k"] == "sleep_started"]
    [woke] = [event for event in events if event["k"] == "sleep_ended"]
    assert woke["t"] >= slept["until"], "the sleep ended early, by the engine's clock"
    assert kinds(events).count("execution_completed") == 1


@pytest.mark.timeout(240)
def test_kill_9_at_any_moment_loses_and_repeats_nothing(own_engine, connect, workers):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    engine = own_engine("--lease", "3s", "--guard-interval", "2s")
    client = connect(engine)
    for _ in range(2):
        workers(engine, "survivor")
    names = [f"survivor-{number}" for number in range(EXECUTIONS)]
    waiting = list(names)
    for _ in range(KILLS):
        for name in waiting[:2]:
            client.start("surviving", {"number": names.index(name)}, execution_id=name)
            waiting.remove(name)
        # Anywhere in a chain of about 1.6 s, or while the workers still find their way back.
        time.sleep(chance.uniform(0.0, 4.5))
        engine.kill9()
        time.sleep(chance.uniform(0.0, 0.5))
        engine.start()
    assert not waiting
    for name in names:
        assert_survived(engine, client, name)
    print(f"{KILLS} kills, {EXECUTIONS} executions, seed {seed}")
