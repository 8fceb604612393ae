"""Five workflows of the shapes that the SDK's documentation shows."""

import time

from cerebelum import Context, sleep, step, wait_for_approval, workflow

# A chain.


@step
async def pick_name(context: Context, inputs: dict):
    return inputs.get("name", "World")


@step
async def make_greeting(context: Context, pick_name: str):
    return f"Hello, {pick_name}"


@step
async def shout(context: Context, make_greeting: str):
    return make_greeting.upper() + "!"


@workflow
def hello_chain(wf):
    wf.timeline(pick_name >> make_greeting >> shout)


# Onboarding: validation tells apart who comes.


@step
async def fetch_account(context: Context, inputs: dict):
    return {"id": inputs["id"], "spent": inputs["id"] * 100}


@step
async def validate_account(context: Context, fetch_account: dict):
    if fetch_account["id"] <= 0:
        return {"error": "there is no such account"}
    return {"ok": "premium" if fetch_account["spent"] > 500 else "standard"}


@step
async def welcome_premium(context: Context, fetch_account: dict):
    return f"a call for {fetch_account['id']:.0f}"


@step
async def welcome_standard(context: Context, fetch_account: dict):
    return f"a mail for {fetch_account['id']:.0f}"


@step
async def refuse_account(context: Context, validate_account: dict):
    return validate_account["error"]


@workflow
def onboarding(wf):
    wf.timeline(fetch_account >> validate_account)
    wf.diverge(
        validate_account,
        {"premium": welcome_premium, "standard": welcome_standard, "error": refuse_account},
    )


# Three fetches at once, and what joins them.


@step
async def choose_city(context: Context, inputs: dict):
    return inputs["city"]


@step
async def fetch_weather(context: Context, choose_city: str):
    return f"rain in {choose_city}"


@step
async def fetch_news(context: Context, choose_city: str):
    return [f"{choose_city} grows"]


@step
async def fetch_traffic(context: Context, choose_city: str):
    return {"jams": len(choose_city)}


@step
async def lay_out_page(context: Context, fetch_weather: str, fetch_news: list, fetch_traffic: dict):
    return {"weather": fetch_weather, "news": fetch_news, "jams": fetch_traffic["jams"]}


@workflow
def morning_paper(wf):
    wf.timeline(choose_city >> [fetch_weather, fetch_news, fetch_traffic] >> lay_out_page)


# An expense that somebody approves in time, or not.


@step
async def hand_in(context: Context, inputs: dict):
    return {"amount": inputs["amount"], "timeout_ms": inputs["timeout_ms"]}


@step
async def ask_manager(context: Context, hand_in: dict):
    data = {"amount": hand_in["amount"]}
    await wait_for_approval("manager", data, int(hand_in["timeout_ms"]))


@step
async def pay_out(context: Context, hand_in: dict, ask_manager: dict):
    return f"paid {hand_in['amount']:.0f}, as {ask_manager['by']} said"


@workflow
def expenses(wf):
    wf.timeline(hand_in >> ask_manager >> pay_out)


# A deployment that sleeps while its target warms up.


@step
async def build_image(context: Context, inputs: dict):
    return f"image-{inputs['version']}"


@step
async def roll_out(context: Context, build_image: str, inputs: dict):
    data = {"image": build_image, "since": time.time()}
    await sleep(int(inputs["warm_up_ms"]), data=data)


@step
async def check_health(context: Context, roll_out: dict, inputs: dict):
    slept_ms = (time.time() - roll_out["since"]) * 1000
    return {"image": roll_out["image"], "warm": slept_ms >= inputs["warm_up_ms"]}


@step
async def open_traffic(context: Context, check_health: dict):
    return f"{check_health['image']} serves" if check_health["warm"] else "too early"


@workflow
def deployment(wf):
    wf.timeline(build_image >> roll_out >> check_health >> open_traffic)


WORKFLOWS = [hello_chain, onboarding, morning_paper, expenses, deployment]
