"""What the SDK's client shows while loops, shortcuts and parallel steps are under way, and after."""

import asyncio
from datetime import datetime, timedelta

import pytest
from cerebelum import ExecutionClient, ExecutionState
from flows import gates
from harness.cases import CASES, COMPLETED
from harness.processes import eventually


@pytest.fixture
def reader(engine):
    reader = ExecutionClient(core_url=engine.address)
    yield reader
    reader.close()


@pytest.fixture
def team(engine, workers):
    return [workers(engine, "watched") for _ in range(2)]


def look(reader, execution):
    return asyncio.run(reader.get_execution_status(execution))


def until(reader, execution, holds, what):
    def seen():
        status = look(reader, execution)
        return status if holds(status) else None

    return eventually(seen, what)


def shown(status):
    """Each step that began, and how it stands."""
    return [(step.step_name, step.status) for step in status.completed_steps]


def assert_all_the_way(status):
    assert status.status is ExecutionState.COMPLETED
    assert status.progress_percentage == 100
    assert status.current_step_index == status.total_steps
    assert status.current_step_name == "" and status.error is None
    now = datetime.now() + timedelta(seconds=1)
    for step in status.completed_steps:
        assert step.status == "completed" and step.output is not None
        assert status.started_at <= step.started_at <= step.completed_at <= now
    ends = [step.completed_at for step in status.completed_steps]
    assert ends == sorted(ends) and status.completed_at >= ends[-1]


def test_a_loop_shows_its_round_and_none_of_the_rounds_before(
    engine, client, team, reader, tmp_path
):
    execution = client.start("cooking").execution_id
    status = until(
        reader,
        execution,
        lambda it: ("taste", "running") in shown(it) and it.step_outputs["stir"]["round"] == 2,
        "it tastes in the second round",
    )
    assert status.status is ExecutionState.RUNNING
    assert (status.current_step_name, status.current_step_index, status.total_steps) == (
        *("taste", 1),
        3,
    )
    assert status.progress_percentage == pytest.approx(100 / 3)
    assert shown(status) == [("stir", "completed"), ("taste", "running")]
    assert set(status.step_outputs) == {"stir"}
    assert status.completed_at is None
    gates.opened(tmp_path, f"taste-{execution}")
    client.completed(execution)
    status = look(reader, execution)
    assert_all_the_way(status)
    assert shown(status) == [(step, "completed") for step in ("stir", "taste", "dish_up")]
    assert status.completed_steps[0].output == {"round": 3}
    assert status.step_outputs["dish_up"] == {"value": "after 3 rounds"}


def test_what_is_jumped_over_counts_as_over_and_is_not_listed(
    client, lazarus, team, reader, tmp_path
):
    execution = client.start("asking").execution_id
    status = until(reader, execution, lambda it: len(it.completed_steps) == 2, "it writes")
    assert shown(status) == [("look_up", "completed"), ("write_down", "running")]
    assert status.current_step_name == "write_down"
    assert (status.current_step_index, status.total_steps) == (2, 4)
    assert lazarus.phases(execution)["ask_around"] == "skipped"
    gates.opened(tmp_path, f"write-{execution}")
    client.completed(execution)
    status = look(reader, execution)
    assert_all_the_way(status)
    assert [step.step_index for step in status.completed_steps] == [0, 2, 3]
    assert set(status.step_outputs) == {"look_up", "write_down", "put_away"}


def test_steps_beside_each_other_are_both_shown(client, team, reader, tmp_path):
    execution = client.start("opening").execution_id
    both = [("unlock", "completed"), ("left_wing", "running"), ("right_wing", "running")]
    status = until(reader, execution, lambda it: shown(it) == both, "both are under way")
    assert (status.current_step_name, status.current_step_index) == ("left_wing", 1)
    gates.opened(tmp_path, f"left-{execution}")
    status = until(
        reader, execution, lambda it: it.current_step_name == "right_wing", "one is done"
    )
    assert (status.current_step_index, status.progress_percentage) == (2, 50)
    assert shown(status)[1:] == [("left_wing", "completed"), ("right_wing", "running")]
    gates.opened(tmp_path, f"right-{execution}")
    client.completed(execution)
    status = look(reader, execution)
    assert_all_the_way(status)
    assert status.step_outputs["open_gate"] == {"ok": ["left", "right"]}


def test_pages_are_newest_first_and_count_everything(client, team, reader):
    names = []
    for number in range(5):
        names.append(client.start("ringing", {"number": number}).execution_id)
        client.completed(names[-1])

    def page(offset):
        executions, total, has_more = asyncio.run(
            reader.list_executions(workflow_name="ringing", limit=2, offset=offset)
        )
        assert total == 5
        return [it.execution_id for it in executions], has_more, executions

    eventually(
        lambda: (
            asyncio.run(
                reader.list_executions(workflow_name="ringing", status=ExecutionState.COMPLETED)
            )[1]
            == 5
        ),
        "all are listed",
    )
    newest = names[::-1]
    assert page(0)[:2] == (newest[0:2], True)
    assert page(2)[:2] == (newest[2:4], True)
    last, has_more, [oldest] = page(4)
    assert (last, has_more) == (newest[4:], False)
    assert page(6)[:2] == ([], False)
    assert (oldest.progress_percentage, oldest.status) == (100, ExecutionState.COMPLETED)
    assert oldest.completed_at >= oldest.started_at


def test_an_ended_list_tells_completed_from_failed(graph):
    """Of all cases, each is listed once, with the status that it came to."""
    reader = ExecutionClient(core_url=graph.stage.engine.address)

    def listed():
        executions, total, _ = asyncio.run(reader.list_executions(limit=100))
        found = {it.execution_id: it.status.name for it in executions}
        assert total == len(executions) == len(found)
        return found.items()

    expected = {
        graph.id_of(case): "COMPLETED" if case.status == COMPLETED else "FAILED" for case in CASES
    }
    eventually(lambda: listed() >= expected.items(), "all are listed as they ended")
    reader.close()
