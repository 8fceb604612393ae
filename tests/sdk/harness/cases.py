"""The workflows with rules, each with an input and what must come of it, disturbed or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from flows import gates

from .client import Client, outputs
from .own import EXECUTIONS, WORKERS, Lazarus
from .stage import Stage

# How each case that waits for a person is answered: by our protocol, or by ours in the workers'.
APPROVE, APPROVE_STEP, REJECT, REJECT_STEP = "Approve", "ApproveStep", "Reject", "RejectStep"
# How each case that fails is resumed, once its bug is mended.
KEPT, ANEW = "kept", "anew"

COMPLETED, FAILED = "STATUS_COMPLETED", "STATUS_FAILED"
CLOSED = {COMPLETED, FAILED, "STATUS_CANCELLED", "STATUS_TIMED_OUT"}
RESULTS = {
    *("step_completed", "step_failed", "sleep_ended"),
    *("approval_granted", "approval_rejected", "approval_timed_out"),
}

ENDS = {"execution_completed", "execution_failed"}

BROKEN, WHOLE = {"kilos": 40, "break": True}, {"kilos": 40, "break": False}


@dataclass(frozen=True)
class Case:
    """One execution: what it is given, what is done to it, and what must come of it."""

    name: str
    workflow: str
    inputs: dict[str, Any]
    # The outputs of the steps as their dependants see them.
    outputs: dict[str, Any]
    skipped: frozenset[str] = frozenset()
    status: str = COMPLETED
    # The kind of failure with which it ends.
    error: str = ""
    answer: str = ""
    resumed: str = ""
    # How often rules led to a step, where that does not depend on what else happens.
    iterations: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of an execution."""

    status: str
    error: str
    outputs: dict[str, Any]
    skipped: frozenset[str]
    iterations: dict[str, int]


def _case(name: str, inputs: dict, outputs: dict, skipped: str = "", **more: Any) -> Case:
    workflow = more.pop("of", name.split("-")[0])
    return Case(name, workflow, inputs, outputs, frozenset(skipped.split()), **more)


def _moved(way: str, letter: str, because: str) -> Case:
    broken = {"error": "it broke"}
    mended = {f"carry_{letter}": broken, f"mend_{way}": {"because": because}}
    given = {"lift": {"kilos": 40}, **mended}
    return _case(f"moving_{way}-broken", BROKEN, given, f"store_{letter}")


def _hosted(name: str, given: Any, chosen: str, served: str, **inputs: Any) -> Case:
    names = ["premium", "standard", "nobody"]
    bill = [served if name == chosen else None for name in names]
    result = {"classify": given, "bill": bill} | ({chosen: served} if chosen else {})
    skipped = " ".join(name for name in names if name != chosen)
    return _case(f"hosting-{name}", inputs, result, skipped)


def _sold(name: str, stock: dict, sent: str | None, ordered: str | None) -> Case:
    result = {"count_stock": stock, "tell_customer": [sent, ordered]}
    chosen = {"send_now": sent, "order_more": ordered}
    result |= {step: text for step, text in chosen.items() if text}
    skipped = " ".join(step for step, text in chosen.items() if not text)
    return _case(f"selling-{name}", {"stock": stock}, result, skipped)


def _sorted(value: Any, chosen: str, seen: str, given: Any = None) -> Case:
    labels = ["text", "true", "number", "gold", "failed", "other"]
    given = value if given is None else given
    sealed = [seen if label == chosen else None for label in labels]
    result = {"weigh": given, chosen: seen, "seal": sealed}
    skipped = " ".join(label for label in labels if label != chosen)
    return _case(f"sorting-{chosen}", {"value": value}, result, skipped)


def _graded(name: str, result: dict, medal: str) -> Case:
    medals = ["gold", "silver", "none"]
    steps = {"gold": "gold_medal", "silver": "silver_medal", "none": "no_medal"}
    over = [medal if it == medal else None for it in medals]
    given = {"mark": result, steps[medal]: medal, "hand_over": over}
    skipped = " ".join(steps[it] for it in medals if it != medal)
    return _case(f"grading-{name}", {"result": result}, given, skipped)


def _signed(name: str, sign: Any, chosen: str, text: Any, **more: Any) -> Case:
    steps = ["file_away", "tear_up", "remind"]
    folder = [text if step == chosen else None for step in steps]
    given = {"sign": sign, chosen: text, "close_folder": folder}
    skipped = " ".join(step for step in steps if step != chosen)
    inputs = {"page": 7, "timeout_ms": more.pop("timeout_ms", 0)}
    return _case(f"signing-{name}", inputs, given, skipped, **more)


REJECTED = "page 7 is blank"
FORGOTTEN = "nobody answered the approval in time"
PIECES = {f"piece_{number:02}": 3 * number for number in range(20)}

CASES = [
    # Caught failures: a handler in the timeline, and four outside it with other parameters.
    _case(
        "teatime-dry",
        {"water": "none"},
        {
            "brew": {"error": "the kettle is dry"},
            "apologise": "sorry: the kettle is dry",
            "serve_tea": [None, "sorry: the kettle is dry"],
        },
        "pour",
    ),
    _case(
        "teatime-wet",
        {"water": "soft"},
        {"brew": "tea", "pour": "a cup of tea", "serve_tea": ["a cup of tea", None]},
        "apologise",
    ),
    _moved("as_guessed", "a", "it broke"),
    _moved("with_nothing", "b", "it was told nothing"),
    _moved("with_inputs", "c", "40 kg are too much"),
    _moved("with_another", "d", "40 of 40 kg: it broke"),
    _case(
        "moving_as_guessed-whole",
        WHOLE,
        {"lift": {"kilos": 40}, "carry_a": {"whole": True}, "store_a": {"whole": True}},
        "mend_as_guessed",
    ),
    _case(
        "phoning-busy",
        {"answer": "busy"},
        {"dial": {"error": "busy"}, "call_later": "later"},
        "give_up",
    ),
    _case(
        "phoning-dead",
        {"answer": "dead"},
        {"dial": {"error": "dead"}, "give_up": "dead"},
        "call_later",
    ),
    # A value, by the DSL's raw keys: the output, or its field `status`.
    _hosted("premium", "premium", "premium", "champagne", tier="premium"),
    _hosted("standard", "standard", "standard", "water", tier="standard"),
    _hosted("field", {"status": "premium"}, "premium", "champagne", tier="premium", as_field=True),
    _hosted(
        "broken",
        {"error": "no such customer"},
        "nobody",
        "nothing, as no such customer",
        tier="broken",
    ),
    _hosted("neither", "basic", "", "", tier="basic"),
    # A value of each type, and a part of an object, by the older builder.
    _sorted("text", "text", "text: text"),
    _sorted(True, "true", "true: True"),
    _sorted(42, "number", "number: 42.0"),
    _sorted(
        {"customer": {"tier": "gold", "name": "Ada"}, "count": 1, "more": []},
        "gold",
        "gold: 3",
    ),
    _sorted(
        "broken",
        "failed",
        "failed: the scales are broken",
        {"error": "the scales are broken", "kind": "ValueError"},
    ),
    _sorted("Text", "other", "other: Text"),
    # Conditions: a named function, a lambda, and words.
    _sold("yes", {"in_stock": True}, "sent", None),
    _sold("no", {"in_stock": False}, None, "ordered"),
    _sold("neither", {"shelf": 3}, None, None),
    _case("gambling", {}, {"guess": {"lucky": True}, "go_home": [None, None]}, "win lose"),
    _graded("gold", {"score": 80}, "gold"),
    _graded("silver", {"score": 50}, "silver"),
    _graded("late", {"score": 79, "late": True}, "none"),
    _graded("unknown", {"name": "Ada"}, "none"),
    _case(
        "metering-low",
        {"power": 10},
        {"read_meter": 10, "log_meter": "logged"},
        "inspect_meter",
    ),
    _case(
        "metering-high",
        {"power": 11},
        {"read_meter": 11, "inspect_meter": "inspected", "log_meter": "logged"},
    ),
    # Past steps that others take.
    _case(
        "carpentry-quick",
        {"size": "ready made"},
        {
            "measure": "ready made",
            "paint": "ready made painted",
            "assemble": [None, None, "ready made painted"],
            "label_parts": None,
        },
        "cut sand",
    ),
    _case(
        "carpentry-long",
        {"size": "long"},
        {
            "measure": "long",
            "cut": "long cut",
            "sand": "long cut and sanded",
            "assemble": ["long cut", "long cut and sanded", None],
            "label_parts": "long cut and sanded",
        },
        "paint",
    ),
    # The end.
    _case("visiting-away", {"answer": "go away"}, {"knock": "go away"}, "enter leave"),
    _case(
        "visiting-quick",
        {"answer": "be quick"},
        {"knock": "be quick", "enter": "entered: be quick"},
        "leave",
    ),
    _case(
        "visiting-long",
        {"answer": "come in"},
        {"knock": "come in", "enter": "entered: come in", "leave": "left"},
    ),
    # Back: 50 rounds, without an end, until it no longer fails, and by way of a step outside.
    _case(
        "running",
        {},
        {"read_lap": 49, "run_lap": {"lap": 50}, "rest_after": 50},
        iterations={"read_lap": 50, "run_lap": 50, "rest_after": 1},
    ),
    _case("turning", {}, {"turn": {"dizzy": True}}, status=FAILED, error="loop_limit"),
    _case("pushing", {}, {"push_door": "open", "walk_through": "through the open door"}),
    _case(
        "driving",
        {},
        {"start_car": "it runs", "drive": "it runs, and drives"},
        "charge_battery",
        iterations={"start_car": 2, "drive": 1},
    ),
    # Twenty beside each other.
    _case(
        "dealing",
        {"factor": 3},
        {"deal": 3, **PIECES, "collect": {"sum": 570, "pieces": 20}},
    ),
    # People.
    _signed("approved", {"by": "ann"}, "file_away", "signed by ann", answer=APPROVE),
    _signed(
        "rejected",
        {"error": REJECTED, "kind": "approval_rejected"},
        "tear_up",
        ["approval_rejected", REJECTED],
        answer=REJECT,
    ),
    _signed(
        "forgotten",
        {"error": FORGOTTEN, "kind": "approval_timeout"},
        "remind",
        "approval_timeout",
        timeout_ms=600,
    ),
    _case(
        "signing_strictly-rejected",
        {"page": 7, "timeout_ms": 0},
        {},
        status=FAILED,
        error="approval_rejected",
        answer=REJECT_STEP,
    ),
    _case(
        "signing_strictly-forgotten",
        {"page": 7, "timeout_ms": 600},
        {},
        status=FAILED,
        error="approval_timeout",
    ),
    # Mended and resumed; tried again as the blueprint asks; served late.
    _case(
        "analysing-kept",
        {"rows": 4},
        {"collect_data": 4, "clean_data": 8, "analyse": 9, "report": [4, 9]},
        resumed=KEPT,
    ),
    _case(
        "analysing-anew",
        {"rows": 5},
        {"collect_data": 5, "clean_data": 10, "analyse": 11, "report": [5, 11]},
        resumed=ANEW,
    ),
    _case("camping", {}, {"light_match": "fire", "warm_hands": "warm by the fire"}),
    _case(
        "travelling",
        {"train": "the 7:15"},
        {"announce": "the 7:15", "arrive": "the 7:15 has arrived"},
    ),
    # Rules that meet sleeps, approvals, parallel steps, each other and a resumption.
    _case(
        "writing",
        {},
        {
            "draft": 2,
            "let_rest": {"version": 2},
            "ask_editor": {"by": "ann"},
            "revise": {"version": 3, "by": "ann"},
            "print_it": "version 3 by ann",
        },
        answer=APPROVE,
        iterations={"draft": 3, "let_rest": 3, "ask_editor": 3, "revise": 3, "print_it": 1},
    ),
    _case(
        "dining",
        {},
        {
            "set_table": 2,
            "cook_rice": 20,
            "cook_fish": 200,
            "eat": {"eaten": 220, "hungry": False},
            "wash_up": 220,
        },
        iterations={"set_table": 3, "cook_rice": 3, "cook_fish": 3, "eat": 3, "wash_up": 1},
    ),
    _case(
        "posting",
        {},
        {
            "unpack": "small",
            "stamp": {"error": "the ink is dry", "kind": "OSError"},
            "write_by_hand": "by hand, as the ink is dry",
            "sort_letter": 3,
            "put_in_box": 4,
            "close_office": [
                None,
                {"error": "the ink is dry", "kind": "OSError"},
                "by hand, as the ink is dry",
                4,
            ],
        },
        "weigh_big",
        resumed=KEPT,
        iterations={"sort_letter": 4, "put_in_box": 4, "stamp": 1},
    ),
    _case(
        "calling",
        {},
        {
            "connect_call": {"error": "nobody is there"},
            "leave_message": "message, as nobody is there",
        },
        "talk",
        resumed=KEPT,
    ),
    # The shapes of the SDK's documentation.
    _case(
        "hello_chain",
        {},
        {"pick_name": "World", "make_greeting": "Hello, World", "shout": "HELLO, WORLD!"},
    ),
    _case(
        "onboarding-premium",
        {"id": 7},
        {
            "fetch_account": {"id": 7, "spent": 700},
            "validate_account": "premium",
            "welcome_premium": "a call for 7",
        },
        "welcome_standard refuse_account",
    ),
    _case(
        "onboarding-standard",
        {"id": 2},
        {
            "fetch_account": {"id": 2, "spent": 200},
            "validate_account": "standard",
            "welcome_standard": "a mail for 2",
        },
        "welcome_premium refuse_account",
    ),
    _case(
        "onboarding-error",
        {"id": -1},
        {
            "fetch_account": {"id": -1, "spent": -100},
            "validate_account": {"error": "there is no such account"},
            "refuse_account": "there is no such account",
        },
        "welcome_premium welcome_standard",
    ),
    _case(
        "morning_paper",
        {"city": "Oslo"},
        {
            "choose_city": "Oslo",
            "fetch_weather": "rain in Oslo",
            "fetch_news": ["Oslo grows"],
            "fetch_traffic": {"jams": 4},
            "lay_out_page": {"weather": "rain in Oslo", "news": ["Oslo grows"], "jams": 4},
        },
    ),
    _case(
        "expenses-approved",
        {"amount": 80, "timeout_ms": 60_000},
        {
            "hand_in": {"amount": 80, "timeout_ms": 60_000},
            "ask_manager": {"by": "ann"},
            "pay_out": "paid 80, as ann said",
        },
        answer=APPROVE_STEP,
    ),
    _case(
        "expenses-forgotten",
        {"amount": 80, "timeout_ms": 600},
        {"hand_in": {"amount": 80, "timeout_ms": 600}},
        status=FAILED,
        error="approval_timeout",
    ),
    _case(
        "deployment",
        {"version": "v2", "warm_up_ms": 1200},
        {
            "build_image": "image-v2",
            "check_health": {"image": "image-v2", "warm": True},
            "open_traffic": "image-v2 serves",
        },
    ),
]
BY_NAME = {case.name: case for case in CASES}
assert len(BY_NAME) == len(CASES)

# What the SDK has no words for: the step is tried again after it failed.
CAMPING = {
    "workflow_module": "camping",
    "language": "python",
    "definition": {
        "timeline": [
            {
                "name": "light_match",
                "retry": {"max_attempts": 3, "initial_delay_ms": 50, "jitter": 0.0},
            },
            {"name": "warm_hands", "depends_on": ["light_match"]},
        ]
    },
}


class Play:
    """Executions of cases on a stage, and what people do about them."""

    def __init__(self, stage: Stage, suffix: str = "") -> None:
        self.stage = stage
        self.suffix = suffix
        self.open: dict[str, Case] = {}
        self.started: dict[str, list[str]] = {}

    def start(self, case: Case) -> str:
        """Starts an execution more of `case`; its id."""
        ids = self.started.setdefault(case.name, [])
        ids.append(f"{case.name}{self.suffix}.{len(ids)}")
        self.client.start(case.workflow, case.inputs, execution_id=ids[-1])
        self.open[ids[-1]] = case
        return ids[-1]

    def id_of(self, case: Case) -> str:
        """The newest execution of a case."""
        return self.started[case.name][-1]

    @property
    def client(self) -> Client:
        return self.stage.client

    @property
    def lazarus(self) -> Lazarus:
        return self.stage.lazarus

    def go_on(self) -> None:
        """One look at every open execution: answers who waits, resumes what failed."""
        for execution, case in list(self.open.items()):
            self._look_at(execution, case)

    def serve_people(self) -> None:
        """The same, of those that somebody has to answer or resume."""
        for execution, case in list(self.open.items()):
            if case.answer or case.resumed:
                self._look_at(execution, case)

    def _look_at(self, execution: str, case: Case) -> None:
        described = self.lazarus.describe(execution)["execution"]
        status = described["status"]
        if status == "STATUS_WAITING_FOR_APPROVAL" and case.answer:
            self._answer(execution, case)
        elif status == FAILED and case.resumed and described["generation"] == 0:
            self._resume(execution, case)
        elif status in CLOSED:
            del self.open[execution]

    def _answer(self, execution: str, case: Case) -> None:
        # A repetition of the answer to one question is to change nothing; the next is another.
        asked = [e for e in self.lazarus.history(execution) if e["k"] == "approval_requested"]
        request = {"execution_id": execution, "request_id": f"{execution}-{len(asked)}"}
        given = {"response": {"by": "ann"}} if "Approve" in case.answer else {"reason": REJECTED}
        if case.answer in {APPROVE, REJECT}:
            self.lazarus.call(EXECUTIONS, case.answer, request | given | {"by": "ann"})
        else:
            self.lazarus.call(WORKERS, case.answer, request | given)

    def _resume(self, execution: str, case: Case) -> None:
        """As the SDK does it, when the bug is mended."""
        gates.opened(self.stage.scratch, f"repaired-{execution}")
        request = {"execution_id": execution, "skip_completed_steps": case.resumed == KEPT}
        self.lazarus.call(WORKERS, "ResumeExecution", request)

    def outcome(self, execution: str) -> Outcome:
        described = self.lazarus.describe(execution)
        status = self.client.status(execution)
        steps = described["steps"]
        return Outcome(
            status=described["execution"]["status"],
            error=(described["execution"].get("error") or {}).get("kind", ""),
            outputs={step: plain(output) for step, output in outputs(status).items()},
            skipped=frozenset(step["name"] for step in steps if step["phase"] == "skipped"),
            iterations={step["name"]: step["iteration"] for step in steps},
        )

    def check(self, case: Case) -> list[Outcome]:
        """That what came of its executions is what must, and that no result is there twice."""
        return [self._check(execution, case) for execution in self.started[case.name]]

    def _check(self, execution: str, case: Case) -> Outcome:
        outcome, events = self.outcome(execution), self.lazarus.history(execution)
        if case.workflow == "deployment":
            # The data of the sleep, with the time at which it began.
            assert outcome.outputs.pop("roll_out")["image"] == "image-v2"
        assert outcome.status == case.status, f"{outcome}\n{events}"
        assert outcome.error == case.error
        assert outcome.outputs == case.outputs
        assert outcome.skipped == case.skipped
        counted = results_by_iteration(events)
        assert set(counted.values()) == {1}, f"{counted}\n{events}"
        closed = [event["k"] for event in events if event["k"] in ENDS]
        assert len(closed) == 1 and events[-1]["k"] == closed[0], events
        iterations = {step: outcome.iterations[step] for step in case.iterations}
        assert iterations == case.iterations
        return outcome


def results_by_iteration(events: list[dict[str, Any]]) -> Counter[tuple[str, int]]:
    """How many results each iteration of each step has: promised is one."""
    counted: Counter[tuple[str, int]] = Counter()
    iterations: dict[str, int] = {}
    for event in events:
        # The end of a wait names no iteration: it is the one in which the wait began.
        if "iteration" in event:
            iterations[event["step"]] = event["iteration"]
        if event["k"] in RESULTS:
            counted[event["step"], iterations[event["step"]]] += 1
    return counted


def plain(output: dict[str, Any]) -> Any:
    """An output as the steps that depend on it see it."""
    if "ok" in output:
        return output["ok"]
    return output["value"] if set(output) == {"value"} else output
