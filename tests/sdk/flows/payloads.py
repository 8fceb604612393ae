"""Large and foreign payloads, each measured where it arrives."""

import hashlib

from cerebelum import Context, step, workflow


def digest(text: str) -> dict:
    return {"letters": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


@step
async def measure(context: Context, inputs: dict):
    return digest(inputs["text"])


@workflow
def measuring(wf):
    wf.timeline(measure)


@step
async def produce(context: Context, inputs: dict):
    return {"text": inputs["unit"] * int(inputs["times"])}


@step
async def consume(context: Context, produce: dict):
    return digest(produce["text"])


@workflow
def producing(wf):
    wf.timeline(produce >> consume)


@step
async def größe(context: Context, inputs: dict):
    return {"ключ": inputs["ключ"], "länge": len(inputs["ключ"])}


@step
async def 次(context: Context, größe: dict):
    return größe["ключ"][::-1]


@workflow
def straße(wf):
    wf.timeline(größe >> 次)


WORKFLOWS = [measuring, producing, straße]
