"""Approvals that are rejected or forgotten, with a rule for that and without."""

from cerebelum import Context, step, wait_for_approval, workflow


@step
async def sign(context: Context, inputs: dict):
    # Every number arrives as a float, and a float here would break the SDK's own loop.
    await wait_for_approval("signature", {"page": inputs["page"]}, int(inputs["timeout_ms"]))


@step
async def file_away(context: Context, sign: dict):
    return f"signed by {sign['by']}"


@step
async def tear_up(context: Context, sign: dict):
    return [sign["kind"], sign["error"]]


@step
async def remind(context: Context, sign: dict):
    return sign["kind"]


@step
async def close_folder(context: Context, file_away: str, tear_up: list, remind: str):
    return [file_away, tear_up, remind]


@workflow
def signing(wf):
    wf.timeline(sign >> file_away >> tear_up >> remind >> close_folder)
    wf.diverge(sign, {"approval_timeout": remind, "error": tear_up})


@step
async def sign_strictly(context: Context, inputs: dict):
    await wait_for_approval("signature", {"page": inputs["page"]}, int(inputs["timeout_ms"]))


@step
async def file_strictly(context: Context, sign_strictly: dict):
    return "filed"


@workflow
def signing_strictly(wf):
    wf.timeline(sign_strictly >> file_strictly)


WORKFLOWS = [signing, signing_strictly]
