"""Rules where they meet each other, sleeps, approvals, parallel steps, and executions that are resumed."""

from cerebelum import Context, WorkflowBuilder, sleep, step, wait_for_approval, workflow

from . import gates


def _round(context, name):
    """Which round it is, put down so that a step that runs again does not make it another."""
    return gates.look(f"{name}-{context.execution_id}")


# A loop with a sleep and an approval in it.


async def draft(context):
    return _round(context, "draft")


async def let_rest(context, draft):
    await sleep(150, data={"version": draft})


async def ask_editor(context, let_rest):
    await wait_for_approval("editor", {"version": let_rest["version"]})


async def revise(context, ask_editor, draft):
    gates.put(f"draft-{context.execution_id}", int(draft) + 1)
    return {"version": draft + 1, "by": ask_editor["by"]}


async def print_it(context, revise):
    return f"version {revise['version']:.0f} by {revise['by']}"


writing = (
    WorkflowBuilder("writing")
    .timeline(["draft", "let_rest", "ask_editor", "revise", "print_it"])
    .step("draft", draft)
    .step("let_rest", let_rest)
    .step("ask_editor", ask_editor)
    .step("revise", revise, depends_on=["ask_editor", "draft"])
    .step("print_it", print_it)
    .branch("revise")
    .if_("version < 3", back_to="draft")
    .build()
)


# A loop around steps that run beside each other.


async def set_table(context):
    return _round(context, "table")


async def cook_rice(context, set_table):
    return set_table * 10


async def cook_fish(context, set_table):
    return set_table * 100


async def eat(context, cook_rice, cook_fish, set_table):
    gates.put(f"table-{context.execution_id}", int(set_table) + 1)
    return {"eaten": cook_rice + cook_fish, "hungry": set_table < 2}


async def wash_up(context, eat):
    return eat["eaten"]


dining = (
    WorkflowBuilder("dining")
    .timeline(["set_table", "cook_rice", "cook_fish", "eat", "wash_up"])
    .step("set_table", set_table)
    .step("cook_rice", cook_rice, depends_on=["set_table"])
    .step("cook_fish", cook_fish, depends_on=["set_table"])
    .step("eat", eat, depends_on=["cook_rice", "cook_fish", "set_table"])
    .step("wash_up", wash_up)
    .branch("eat")
    .if_("hungry", back_to="set_table")
    .build()
)


# A bug in the third round of a loop, behind a shortcut and a caught failure; mended and resumed.


async def unpack(context, inputs):
    return "small"


async def weigh_big(context, unpack):
    return "never"


async def stamp(context):
    raise OSError("the ink is dry")


async def write_by_hand(context, stamp):
    return f"by hand, as {stamp['error']}"


async def sort_letter(context):
    number = _round(context, "letter")
    if number == 2 and not gates.is_open(f"repaired-{context.execution_id}"):
        raise IndexError("no such box")
    return number


async def put_in_box(context, sort_letter):
    gates.put(f"letter-{context.execution_id}", int(sort_letter) + 1)
    return sort_letter + 1


async def close_office(context, weigh_big, stamp, write_by_hand, put_in_box):
    return [weigh_big, stamp, write_by_hand, put_in_box]


posting = (
    WorkflowBuilder("posting")
    .timeline(
        [
            *("unpack", "weigh_big", "stamp", "write_by_hand"),
            *("sort_letter", "put_in_box", "close_office"),
        ]
    )
    .step("unpack", unpack)
    .step("weigh_big", weigh_big)
    .step("stamp", stamp)
    .step("write_by_hand", write_by_hand, depends_on=["stamp"])
    .step("sort_letter", sort_letter)
    .step("put_in_box", put_in_box)
    .step(
        "close_office",
        close_office,
        depends_on=["weigh_big", "stamp", "write_by_hand", "put_in_box"],
    )
    .diverge("unpack")
    .when("small", target="stamp")
    .diverge("stamp")
    .when(":error", target="write_by_hand")
    .branch("put_in_box")
    .if_("result < 4", back_to="sort_letter")
    .build()
)


# A bug in the handler of a failure, which is outside the timeline.


@step
async def connect_call(context: Context, inputs: dict):
    raise TimeoutError("nobody is there")


@step
async def talk(context: Context, connect_call: dict):
    return "never"


@step
async def leave_message(context: Context, connect_call: dict):
    if not gates.is_open(f"repaired-{context.execution_id}"):
        raise KeyError("tape")
    return f"message, as {connect_call['error']}"


@workflow
def calling(wf):
    wf.timeline(connect_call >> talk)
    wf.diverge(connect_call, {"error": leave_message})


WORKFLOWS = [writing, dining, posting, calling]
