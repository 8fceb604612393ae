"""Rules of the decorated kind: caught failures, alternatives, shortcuts, and steps outside the timeline.

The outputs are the same however often a step runs, so that an execution whose engine was killed can be
held against one that nobody disturbed.
"""

from cerebelum import Context, step, workflow

# A handler in the timeline.


@step
async def brew(context: Context, inputs: dict):
    if inputs["water"] == "none":
        raise RuntimeError("the kettle is dry")
    return "tea"


@step
async def pour(context: Context, brew: str):
    return f"a cup of {brew}"


@step
async def apologise(context: Context, brew: dict):
    return f"sorry: {brew['error']}"


@step
async def serve_tea(context: Context, pour: str, apologise: str):
    return [pour, apologise]


@workflow
def teatime(wf):
    wf.timeline(brew >> pour >> apologise >> serve_tea)
    wf.diverge(brew, {"error": apologise})


# Handlers outside the timeline, whose parameters the engine can not know.


def _fail(inputs: dict) -> dict:
    if inputs["break"]:
        raise ValueError("it broke")
    return {"whole": True}


@step
async def lift(context: Context, inputs: dict):
    return {"kilos": inputs["kilos"]}


@step
async def carry_a(context: Context, inputs: dict):
    return _fail(inputs)


@step
async def store_a(context: Context, carry_a: dict):
    return carry_a


@step
async def mend_as_guessed(context: Context, carry_a: dict):
    return {"because": carry_a["error"]}


@workflow
def moving_as_guessed(wf):
    wf.timeline(lift >> carry_a >> store_a)
    wf.diverge(carry_a, {"error": mend_as_guessed})


@step
async def carry_b(context: Context, inputs: dict):
    return _fail(inputs)


@step
async def store_b(context: Context, carry_b: dict):
    return carry_b


@step
async def mend_with_nothing(context: Context):
    return {"because": "it was told nothing"}


@workflow
def moving_with_nothing(wf):
    wf.timeline(lift >> carry_b >> store_b)
    wf.diverge(carry_b, {"error": mend_with_nothing})


@step
async def carry_c(context: Context, inputs: dict):
    return _fail(inputs)


@step
async def store_c(context: Context, carry_c: dict):
    return carry_c


@step
async def mend_with_inputs(context: Context, inputs: dict):
    return {"because": f"{inputs['kilos']:.0f} kg are too much"}


@workflow
def moving_with_inputs(wf):
    wf.timeline(lift >> carry_c >> store_c)
    wf.diverge(carry_c, {"error": mend_with_inputs})


@step
async def carry_d(context: Context, inputs: dict):
    return _fail(inputs)


@step
async def store_d(context: Context, carry_d: dict):
    return carry_d


@step
async def mend_with_another(context: Context, lift: dict, carry_d: dict, inputs: dict):
    return {"because": f"{lift['kilos']:.0f} of {inputs['kilos']:.0f} kg: {carry_d['error']}"}


@workflow
def moving_with_another(wf):
    wf.timeline(lift >> carry_d >> store_d)
    wf.diverge(carry_d, {"error": mend_with_another})


# Alternatives by a value, of which one runs.


@step
async def classify(context: Context, inputs: dict):
    if inputs["tier"] == "broken":
        raise ValueError("no such customer")
    return {"status": inputs["tier"]} if inputs.get("as_field") else inputs["tier"]


@step
async def premium(context: Context, classify: object):
    return "champagne"


@step
async def standard(context: Context, classify: object):
    return "water"


@step
async def nobody(context: Context, classify: dict):
    return f"nothing, as {classify['error']}"


@step
async def bill(context: Context, premium: str, standard: str, nobody: str):
    return [premium, standard, nobody]


@workflow
def hosting(wf):
    wf.timeline(classify >> premium >> standard >> nobody >> bill)
    wf.diverge(classify, {"premium": premium, "standard": standard, "error": nobody})


# Alternatives by a condition: a named function is read as a field, a lambda never holds.


def in_stock(output: dict) -> bool:
    raise AssertionError("the engine has no Python: this is never called")


@step
async def count_stock(context: Context, inputs: dict):
    return inputs["stock"]


@step
async def send_now(context: Context, count_stock: dict):
    return "sent"


@step
async def order_more(context: Context, count_stock: dict):
    return "ordered"


@step
async def tell_customer(context: Context, send_now: str, order_more: str):
    return [send_now, order_more]


@workflow
def selling(wf):
    wf.timeline(count_stock >> send_now >> order_more >> tell_customer)
    wf.branch(after=count_stock, condition=in_stock, when_true=send_now, when_false=order_more)


@step
async def guess(context: Context, inputs: dict):
    return {"lucky": True}


@step
async def win(context: Context, guess: dict):
    return "won"


@step
async def lose(context: Context, guess: dict):
    return "lost"


@step
async def go_home(context: Context, win: str, lose: str):
    return [win, lose]


@workflow
def gambling(wf):
    wf.timeline(guess >> win >> lose >> go_home)
    wf.branch(after=guess, condition=lambda it: it["lucky"], when_true=win, when_false=lose)


# A rule past steps that others take: those are not to wait for ever.


@step
async def measure(context: Context, inputs: dict):
    return inputs["size"]


@step
async def cut(context: Context, measure: str):
    return f"{measure} cut"


@step
async def sand(context: Context, cut: str):
    return f"{cut} and sanded"


@step
async def paint(context: Context, measure: str):
    return f"{measure} painted"


@step
async def assemble(context: Context, cut: str, sand: str, paint: str):
    return [cut, sand, paint]


@step
async def label_parts(context: Context, sand: str):
    return sand


@workflow
def carpentry(wf):
    wf.timeline(measure >> cut >> sand >> paint >> assemble >> label_parts)
    wf.diverge(measure, {"ready made": paint})


# Failures tell each other apart by kind and by their fields.


@step
async def dial(context: Context, inputs: dict):
    return {"error": inputs["answer"]}


@step
async def call_later(context: Context, dial: dict):
    return "later"


@step
async def give_up(context: Context, dial: dict):
    return dial["error"]


@workflow
def phoning(wf):
    wf.timeline(dial)
    wf.diverge(dial, {'{"error": "busy"}': call_later, "error": give_up})


WORKFLOWS = [
    teatime,
    moving_as_guessed,
    moving_with_nothing,
    moving_with_inputs,
    moving_with_another,
    hosting,
    selling,
    gambling,
    carpentry,
    phoning,
]
