"""A worker on the published Cerebelum SDK, unmodified: one step at a time, as that is what it does.

    python bench/python_worker.py 127.0.0.1:50051 worker-1
"""

import asyncio
import random
import string
import sys
from datetime import timedelta

from cerebelum import Worker, sleep

# What repeats itself would be compressed away before it reaches a disk.
PAYLOAD = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=100_000))


async def one(context, **inputs):
    return {"ok": 1}


async def text(context, **inputs):
    return {"ok": PAYLOAD}


async def nap(context, **inputs):
    await sleep(timedelta(seconds=10))


def main():
    address, name = sys.argv[1:]
    worker = Worker(name, address, reconnect_max_delay=1.0)
    for step in [f"s{n}" for n in range(10)] + [f"f{n}" for n in range(100)]:
        worker.register_step(step, one)
    for step in ("split", "join", "before", "after"):
        worker.register_step(step, one)
    for step in ("p0", "p1", "p2"):
        worker.register_step(step, text)
    worker.register_step("nap", nap)
    asyncio.run(worker.start())


if __name__ == "__main__":
    main()
