"""Every case of `harness/cases.py` again, on an engine that is killed at random moments: the same outcome."""

import random
import time

import pytest
from harness.cases import BY_NAME, CAMPING, CASES, Play
from harness.own import WORKERS
from harness.processes import eventually

# Every case is open at one of these kills; more follow if it takes more.
KILLS = 6
KILLS_MAX = 20
# About how often a worker is handed something for one case.
CASE_TASKS = 4
# A random number of tasks may be more than there are.
SECONDS_MAX = 3.0


def tasks(stage):
    """How many tasks the workers have received: the clock by which the engine is killed."""
    return sum(worker.output().count("Received task") for worker in stage.workers)


def until_a_random_task(play, chance, cases):
    """Goes on until workers were handed a random number of tasks more."""
    wanted = tasks(play.stage) + chance.randint(1, CASE_TASKS * cases)
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline and tasks(play.stage) < wanted:
        play.serve_people()
        time.sleep(chance.uniform(0.0, 0.002))
    return f"after {tasks(play.stage)} tasks"


@pytest.fixture(scope="module")
def survivors(new_stage):
    """All cases, started on one engine that is killed again and again."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    waiting = chance.sample(CASES, len(CASES))
    with new_stage("death", "--lease", "4s") as stage:
        stage.employ("graph", count=3)
        stage.employ("latecomer", "--only", "announce")
        stage.lazarus.call(WORKERS, "SubmitBlueprint", CAMPING)
        play = Play(stage, suffix=f"-{seed}")
        while waiting or stage.engine.starts <= KILLS:
            if not waiting and len(play.open) < len(CASES) / 2:
                waiting = chance.sample(CASES, len(CASES))
            fresh = {play.start(case): case for case in waiting}
            moment = until_a_random_task(play, chance, len(play.open))
            stage.engine.kill9()
            time.sleep(chance.uniform(0.0, 0.3))
            stage.engine.start()
            play.go_on()
            print(f"kill {stage.engine.starts - 1} {moment}, {len(play.open)} are open")
            # What was over before it could be disturbed is started once more.
            waiting = [case for execution, case in fresh.items() if execution not in play.open]
            names = [case.name for case in waiting]
            assert stage.engine.starts <= KILLS_MAX, f"always over before the kill: {names}"
        stage.employ("latecomer")

        def over():
            play.go_on()
            return not play.open

        eventually(over, "all cases are over", 90)
        yield play


@pytest.mark.timeout(240)
def test_the_engine_was_killed_under_open_executions(survivors):
    assert survivors.stage.engine.starts > KILLS
    for worker in survivors.stage.workers:
        worker.require_up()


@pytest.mark.parametrize("name", BY_NAME)
def test_a_killed_engine_comes_to_what_an_undisturbed_one_does(survivors, graph, name):
    case = BY_NAME[name]
    [undisturbed] = graph.check(case)
    for disturbed in survivors.check(case):
        assert disturbed.status == undisturbed.status
        assert disturbed.skipped == undisturbed.skipped
        assert set(disturbed.outputs) == set(undisturbed.outputs)
