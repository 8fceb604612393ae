"""The workloads: what is asked of a system, and what comes of it.

Each gives one dictionary of figures for one system in one round.
"""

import os
import threading
import time

from .process import Failed, Peak, cpu_seconds, memory_mb, written_bytes

# How many steps an execution has.
STEPS = {"chain10": 10, "fan100": 102, "payload": 3, "sleeper": 3}
# From how many clients the executions of a restart come, and how many there are.
RESTART_CLIENTS, RESTART_COUNT = 64, 3_200
# From how many clients the executions come that make a store old, and those that are measured then.
AGEING_CLIENTS = 64
# Before sleepers: what a server is warmed with, and how long it then rests.
WARM_UP_CLIENTS, WARM_UP_SECONDS, WARM_UP_REST_SECONDS = 64, 5, 2
# When all sleepers that were begun in time are asleep, and none is awake again.
LOOK_AFTER_SECONDS = 9
# What ends so long after the kill has waited for more than the server's start.
LATE_MS = 10_000
# How long a long run may take, that a figure comes of one which is slow.
LONG_PATIENCE_SECONDS = 3_600


def machine():
    """What the machine has to do beside this."""
    return {"load": os.getloadavg()[0], "cores": os.cpu_count()}


def closed(system, settings, workload, clients):
    """Clients that each run one execution after the other."""
    arguments = ("--clients", clients, "--seconds", settings.seconds)
    return measured(system, STEPS[workload], lambda: system.ask("closed", workload, *arguments))


def aged(system, settings, count):
    """chain10, on a store that has seen `count` executions."""
    history = ("--clients", AGEING_CLIENTS, "--count", count, "--prefix", "aged")
    system.ask("batch", "chain10", *history, patience=LONG_PATIENCE_SECONDS)
    return closed(system, settings, "chain10", AGEING_CLIENTS)


def long(system, steps):
    """One execution of many steps."""
    system.prepare_long(steps)
    figures = measured(system, steps, lambda: system.ask("long", steps, patience=LONG_PATIENCE_SECONDS))
    figures["steps_per_second"] = steps / figures["seconds"]
    return figures


def sleepers(system, settings, count):
    """Executions that sleep 10 s, begun at one pace; the times are how late their sleeps ended."""
    # A server that has worked a little has the memory that it keeps whatever sleeps.
    system.ask("closed", "chain10", "--clients", WARM_UP_CLIENTS, "--seconds", WARM_UP_SECONDS)
    time.sleep(WARM_UP_REST_SECONDS)
    prefix = f"sleeper-{count}"
    asleep = []
    look = threading.Timer(LOOK_AFTER_SECONDS, lambda: asleep.append(memory_mb(system.servers)))
    look.start()
    try:
        sleep = lambda: system.sleep(prefix, count, settings.per_second)
        figures = measured(system, STEPS["sleeper"], sleep)
    finally:
        look.cancel()
    # A library has its engine in the process of its clients, which say themselves how it grew.
    grown = asleep[0] - figures["first_mb"]
    grown += figures.get("library_peak_mb", 0) - figures.get("library_first_mb", 0)
    figures["kb_each"] = grown * 1024 / count
    late = system.sleep_lateness(prefix, count)
    figures |= {key: late[key] for key in late if key.endswith("_ms")}
    # What is measured is how late they are; how many end in a second says nothing.
    figures.pop("rate", None)
    return figures


def restart(system, settings, asleep):
    """kill -9 with executions under way, and as many asleep; all must complete, and exactly once."""
    if asleep:
        system.start_sleepers("asleep", asleep)
    arguments = ("batch", "chain10", "--clients", RESTART_CLIENTS)
    arguments += ("--count", RESTART_COUNT, "--prefix", "restart")
    load, clients = machine(), system.begin(*arguments)
    try:
        clients.stderr.readline()  # a quarter has ended
        system.kill()
        killed = time.time() * 1000
        system.again()
        figures = system.answer(arguments, clients)
    finally:
        clients.kill()
    after = [at for at in figures.pop("ends_ms") if at > killed]
    if not after:
        raise Failed(f"{system.name}: all {RESTART_COUNT} executions had ended before the kill")
    if asleep:
        ends = system.ask("wait", "--prefix", "asleep", "--count", asleep)["ends_ms"]
        figures["asleep_all_done_s"] = (max(ends) - killed) / 1000
        system.verify_once("sleeper", "asleep", asleep)
    system.verify_once("chain10", "restart", RESTART_COUNT)
    return {
        **figures,
        "machine": load,
        "after_the_kill": len(after),
        "late": sum(at - killed > LATE_MS for at in after),
        "first_progress_ms": min(after) - killed,
        "all_done_s": (max(after) - killed) / 1000,
    }


def measured(system, steps_each, run):
    """What `run` gives, with what the server paid for it; an execution has `steps_each` steps."""
    load, cpu, written = machine(), cpu_seconds(system.servers), written_bytes(system.servers)
    requests = system.requests()
    with Peak(lambda: system.servers) as peak:
        figures = run()
    steps = figures["ended"] * steps_each
    if not steps:
        raise Failed(f"{system.name}: nothing ended; the first error: {figures.get('first_error')}")
    figures["machine"] = load
    # A library has its engine in the process of its clients: that counts too.
    peak.mb += figures.get("library_peak_mb", 0)
    figures["peak_mb"], figures["first_mb"] = peak.mb, peak.first_mb
    # Of all that ended, also in the warm-up: that is paid too.
    paid = cpu_seconds(system.servers) - cpu + figures.get("library_cpu_s", 0)
    figures["cpu_s_per_1000_steps"] = paid / steps * 1000
    figures["disk_bytes_per_step"] = (written_bytes(system.servers) - written) / steps
    if requests is not None:
        now = system.requests()
        figures["store_per_step"] = {
            key: (value - requests.get(key, 0)) / steps for key, value in now.items()
        }
    return figures
