"""Rules of the older builder: patterns of every type, conditions in words, shortcuts, END."""

from cerebelum import WorkflowBuilder


async def weigh(context, inputs):
    if inputs["value"] == "broken":
        raise ValueError("the scales are broken")
    return inputs["value"]


def _label(name):
    async def label(context, weigh):
        # An object has its fields in any order.
        shown = weigh["error"] if name == "failed" else len(weigh) if name == "gold" else weigh
        return f"{name}: {shown}"

    return label


async def seal(context, text, true, number, gold, failed, other):
    return [text, true, number, gold, failed, other]


LABELS = ["text", "true", "number", "gold", "failed", "other"]

_sorting = WorkflowBuilder("sorting").timeline(["weigh", *LABELS, "seal"]).step("weigh", weigh)
for _name in LABELS:
    _sorting.step(_name, _label(_name), depends_on=["weigh"])
sorting = (
    _sorting.step("seal", seal, depends_on=LABELS)
    .diverge("weigh")
    .when("text", target="text")
    .when(True, target="true")
    .when(42, target="number")
    .when({"customer": {"tier": "gold"}, "count": 1}, target="gold")
    .when(":error", target="failed")
    .when(":ok", target="other")
    .build()
)


async def mark(context, inputs):
    return inputs["result"]


async def gold_medal(context):
    return "gold"


async def silver_medal(context):
    return "silver"


async def no_medal(context):
    return "none"


async def hand_over(context, gold_medal, silver_medal, no_medal):
    return [gold_medal, silver_medal, no_medal]


MEDALS = ["gold_medal", "silver_medal", "no_medal"]

grading = (
    WorkflowBuilder("grading")
    .timeline(["mark", *MEDALS, "hand_over"])
    .step("mark", mark)
    .step("gold_medal", gold_medal)
    .step("silver_medal", silver_medal)
    .step("no_medal", no_medal)
    .step("hand_over", hand_over, depends_on=MEDALS)
    .branch("mark")
    .if_("score >= 80", skip_to="gold_medal")
    .if_("result['score'] >= 50 and result.get('late') != True", skip_to="silver_medal")
    .if_("else", skip_to="no_medal")
    .build()
)


async def read_meter(context, inputs):
    return inputs["power"]


async def inspect_meter(context, read_meter):
    return "inspected"


async def log_meter(context):
    return "logged"


metering = (
    WorkflowBuilder("metering")
    .timeline(["read_meter", "inspect_meter", "log_meter"])
    .step("read_meter", read_meter)
    .step("inspect_meter", inspect_meter)
    .step("log_meter", log_meter)
    .branch("read_meter")
    .if_("result <= 10", skip_to="log_meter")
    .build()
)


async def knock(context, inputs):
    return inputs["answer"]


async def enter(context, knock):
    return f"entered: {knock}"


async def leave(context, enter):
    return "left"


visiting = (
    WorkflowBuilder("visiting")
    .timeline(["knock", "enter", "leave"])
    .step("knock", knock)
    .step("enter", enter)
    .step("leave", leave)
    .diverge("knock")
    .when("go away", target="END")
    .branch("enter")
    .if_("result == 'entered: be quick'", skip_to="END")
    .build()
)

WORKFLOWS = [sorting, grading, metering, visiting]
