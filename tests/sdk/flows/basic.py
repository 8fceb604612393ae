"""Hello world, a chain with data, and order without data."""

from cerebelum import Context, step, workflow

from . import traces


@step
async def greet(context: Context, inputs: dict):
    return f"Hello, {inputs['name']}!"


@workflow
def hello(wf):
    wf.timeline(greet)


@step
async def order(context: Context, inputs: dict):
    return {"net": inputs["net"], "articles": ["pen", "paper"], "gift": None}


@step
async def tax(context: Context, order: dict):
    return order["net"] * 0.25


@step
async def label(context: Context, order: dict, tax: float):
    return f"{len(order['articles'])} articles, gift: {order['gift']}, tax {tax:.2f}"


@step
async def invoice(context: Context, label: str, order: dict, tax: float):
    return {"ok": {"text": label, "total": order["net"] + tax}}


@workflow
def billing(wf):
    wf.timeline(order >> tax >> label >> invoice)


@step
async def lay_out(context: Context, inputs: dict):
    traces.leave("order", "lay_out")


@step
async def print_out(context: Context, inputs: dict):
    traces.leave("order", "print_out")


@step
async def bind(context: Context, inputs: dict):
    traces.leave("order", "bind")
    return inputs["title"]


@workflow
def book(wf):
    wf.timeline(lay_out >> print_out >> bind)


WORKFLOWS = [hello, billing, book]
