"""One step, twenty that run beside each other, and one that takes them all."""

import asyncio
import inspect

from cerebelum import Context, step, workflow

from . import traces

WIDTH = 20
NAMES = [f"piece_{number:02}" for number in range(WIDTH)]


@step
async def deal(context: Context, inputs: dict):
    return inputs["factor"]


def _piece(number):
    async def piece(context: Context, deal: float):
        traces.leave(f"pieces-{context.execution_id}")
        await asyncio.sleep(0.05)
        return number * deal

    piece.__name__ = NAMES[number]
    return step(piece)


async def collect(context: Context, **pieces: float):
    return {"sum": sum(pieces.values()), "pieces": len(pieces)}


# As if it were written with twenty parameters.
_parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in NAMES]
_context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
collect.__signature__ = inspect.Signature([_context, *_parameters])
collect = step(collect)


pieces = [_piece(number) for number in range(WIDTH)]


@workflow
def dealing(wf):
    wf.timeline(deal >> pieces >> collect)


WORKFLOWS = [dealing]
