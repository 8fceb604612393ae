"""Rules: what follows a step when not simply the next one. Each case of `harness/cases.py`, undisturbed."""

import pytest
from cerebelum import BlueprintSerializer, DistributedExecutor
from cerebelum.proto import worker_service_pb2 as pb
from flows import loops, older_routes, routes, traces, twenty
from flows.serve import definition_of
from harness.cases import BY_NAME, CASES
from harness.client import ok
from harness.engine import kinds, results


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_comes_to_what_its_rules_say(graph, case):
    graph.check(case)
    status = graph.client.status(graph.id_of(case))
    assert status.workflow_name == case.workflow
    if case.error:
        assert (status.status, status.error.kind) == (pb.EXECUTION_FAILED, case.error)
        assert status.error.message
    else:
        assert status.status == pb.EXECUTION_COMPLETED and not status.HasField("error")
        assert status.current_step_index == status.total_steps


def submitted(graph, definition):
    """What the engine says about a blueprint, exactly as the SDK sends it."""
    with DistributedExecutor(core_url=graph.stage.engine.address) as executor:
        blueprint = executor._dict_to_blueprint(BlueprintSerializer.to_dict(definition))
    return graph.client.call("SubmitBlueprint", blueprint)


def events(graph, name):
    return graph.stage.engine.events(graph.id_of(BY_NAME[name]))


def test_a_lambda_is_warned_about_at_submission_and_named_in_the_history(graph):
    answer = submitted(graph, definition_of(routes.gambling))
    assert answer.valid and not answer.errors
    assert len(answer.warnings) == 2
    for warning, target in zip(answer.warnings, ("win", "lose"), strict=True):
        assert f"never goes to `{target}`" in warning and "lambda" in warning
    untold = [e for e in events(graph, "gambling") if e["k"] == "condition_not_evaluated"]
    assert [event["when"] for event in untold] == ["<lambda>==true", "<lambda>==false"]
    assert {event["step"] for event in untold} == {"guess"}


def test_a_named_function_is_warned_about_and_a_missing_field_is_named_in_the_history(graph):
    answer = submitted(graph, definition_of(routes.selling))
    assert answer.valid and len(answer.warnings) == 2
    assert all("the field `in_stock`" in warning for warning in answer.warnings)
    assert "condition_not_evaluated" not in kinds(events(graph, "selling-no"))
    missing = [e for e in events(graph, "selling-neither") if e["k"] == "condition_not_evaluated"]
    assert [event["when"] for event in missing] == ["in_stock==true", "in_stock==false"]
    assert all("in_stock" in event["reason"] for event in missing)


def test_a_target_outside_the_timeline_is_warned_about(graph):
    answer = submitted(graph, definition_of(routes.moving_with_nothing))
    [warning] = answer.warnings
    assert "`mend_with_nothing` is not in the timeline" in warning


def test_conditions_that_the_engine_understands_are_not_warned_about(graph):
    for definition in (*older_routes.WORKFLOWS, loops.running, definition_of(routes.hosting)):
        answer = submitted(graph, definition)
        assert answer.valid and list(answer.warnings) == [], definition.id


def test_the_call_of_a_step_outside_the_timeline_is_corrected_until_it_fits(graph):
    def corrections(way):
        of_way = events(graph, f"moving_{way}-broken")
        return [e["arguments"] for e in of_way if e["k"] == "arguments_adapted"]

    assert corrections("as_guessed") == []
    assert corrections("with_nothing") == [[]]
    assert corrections("with_inputs")[-1] == ["inputs"]
    assert sorted(corrections("with_another")[-1]) == ["carry_d", "inputs", "lift"]
    # Nothing of this counts as a failure or as an attempt.
    of_way = events(graph, "moving_with_another-broken")
    assert kinds(of_way, "mend_with_another")[-1] == "step_completed"
    assert all(event.get("attempt", 1) == 1 for event in of_way)
    assert results(of_way) == {"lift": 1, "carry_d": 1, "mend_with_another": 1}


def test_fifty_rounds_are_taken_and_each_has_its_result(graph):
    of_lap = events(graph, "running")
    back = [event for event in of_lap if event["k"] == "transition_taken"]
    assert len(back) == loops.ROUNDS - 1
    assert {(event["step"], event["to"]) for event in back} == {("run_lap", "read_lap")}
    assert back[-1]["cleared"] == ["read_lap", "run_lap"]
    assert results(of_lap) == {"read_lap": 50, "run_lap": 50, "rest_after": 1}


def test_a_failing_step_that_leads_back_to_itself_runs_until_it_succeeds(graph):
    assert kinds(events(graph, "pushing"), "push_door").count("failure_caught") == loops.TRIES - 1


def test_twenty_steps_run_beside_each_other_in_three_processes(graph):
    # Again, as nothing else keeps the three of them busy now.
    scratch = graph.stage.scratch
    execution = graph.client.start("dealing", {"factor": 2}).execution_id
    assert ok(graph.client.completed(execution), "collect") == {"sum": 380, "pieces": 20}
    name = f"pieces-{execution}"
    assert traces.count(scratch, name) == twenty.WIDTH
    processes = set((scratch / f"{name}.trace").read_text().split())
    assert processes == {str(worker.pid) for worker in graph.stage.workers[:3]}


def test_a_loop_that_exceeds_the_engines_bound_fails_and_says_so(own_engine, connect, workers):
    engine = own_engine("--max-iterations", "20")
    client = connect(engine)
    workers(engine, "loops")
    execution = client.start("turning").execution_id
    status = client.failed(execution)
    assert status.error.kind == "loop_limit"
    assert "`turn`" in status.error.message and "20 times" in status.error.message
    assert results(engine.events(execution)) == {"turn": 20}
    assert "sit_down" not in status.step_outputs
    # Fewer rounds than that are none of its business.
    pushing = client.start("pushing").execution_id
    client.completed(pushing)
