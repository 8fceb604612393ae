"""The SDK's documented one call: submits, starts an execution, and only then becomes its worker."""

import asyncio
import sys

from cerebelum import Context, step, workflow


@step
async def serve_soup(context: Context, inputs: dict):
    return f"{inputs['soup']} soup"


@workflow(core_url=sys.argv[1])
def kitchen(wf):
    wf.timeline(serve_soup)


if __name__ == "__main__":
    asyncio.run(kitchen.execute({"soup": "onion"}, distributed=True))
