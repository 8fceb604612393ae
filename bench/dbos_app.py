"""The same workloads for DBOS, which is a library: workflows, engine and clients are this one process.

Prints one JSON object, as the other programs do, with what the process itself cost under `library_`.
"""

import argparse
import asyncio
import json
import math
import random
import resource
import string
import time

from dbos import DBOS

# What repeats itself would be compressed away before it reaches a disk.
PAYLOAD = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=100_000))
SLEEP_SECONDS = 10


@DBOS.step()
async def one():
    return 1


@DBOS.step()
async def text():
    return PAYLOAD


@DBOS.step()
async def now():
    return time.time()


@DBOS.workflow()
async def chain10():
    total = 0
    for _ in range(10):
        total += await one()
    assert total == 10


@DBOS.workflow()
async def fan100():
    await one()
    total = sum(await asyncio.gather(*(one() for _ in range(100))))
    await one()
    assert total == 100


@DBOS.workflow()
async def payload():
    for _ in range(3):
        assert len(await text()) == len(PAYLOAD)


@DBOS.workflow()
async def sleeper():
    begun = await now()
    await DBOS.sleep_async(SLEEP_SECONDS)
    return await now() - begun - SLEEP_SECONDS


WORKLOADS = {"chain10": chain10, "fan100": fan100, "payload": payload}


def figures(times, ended, errors, seconds):
    times.sort()

    def at(share):
        return times[max(0, math.ceil(share * len(times)) - 1)] * 1000 if times else None

    return {
        "count": len(times),
        "ended": ended,
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "seconds": seconds,
        "rate": len(times) / seconds,
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "max_ms": at(1.0),
    }


async def closed(workload, clients, warm_up, seconds):
    """Each client runs one execution after the other."""
    begin = time.monotonic() + warm_up
    end = begin + seconds
    times, ended, errors = [], 0, []

    async def client():
        nonlocal ended
        while time.monotonic() < end:
            started = time.monotonic()
            try:
                await WORKLOADS[workload]()
            except Exception as error:  # counted, and in the table
                errors.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.05)
                continue
            ended += 1
            if begin <= time.monotonic() < end:
                times.append(time.monotonic() - started)

    await asyncio.gather(*(client() for _ in range(clients)))
    return figures(times, ended, errors, seconds)


async def sleepers(count):
    """All at once; each answers how late it was."""
    begun = time.monotonic()
    handles = await asyncio.gather(*(DBOS.start_workflow_async(sleeper) for _ in range(count)))
    starting = time.monotonic() - begun
    late = await asyncio.gather(*(handle.get_result() for handle in handles))
    found = figures(list(late), count, [], time.monotonic() - begun)
    return {**found, "starting_s": starting}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    of = commands.add_parser("closed")
    of.add_argument("workload", choices=WORKLOADS)
    of.add_argument("--clients", type=int, required=True)
    of.add_argument("--seconds", type=float, default=5)
    of.add_argument("--warm-up", type=float, default=1)
    commands.add_parser("sleepers").add_argument("--count", type=int, required=True)
    commands.add_parser("migrate")
    arguments = parser.parse_args()
    DBOS(config={"name": "bench", "system_database_url": arguments.database, "log_level": "ERROR"})
    DBOS.launch()
    before = resource.getrusage(resource.RUSAGE_SELF)
    if arguments.command == "closed":
        run = closed(arguments.workload, arguments.clients, arguments.warm_up, arguments.seconds)
        found = asyncio.run(run)
    elif arguments.command == "sleepers":
        found = asyncio.run(sleepers(arguments.count))
    else:
        found = {}
    after = resource.getrusage(resource.RUSAGE_SELF)
    found["library_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found["library_first_mb"] = before.ru_maxrss / 1024
    found["library_peak_mb"] = after.ru_maxrss / 1024
    print(json.dumps(found))
    DBOS.destroy()


if __name__ == "__main__":
    main()
