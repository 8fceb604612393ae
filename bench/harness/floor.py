"""What the machine gives without an engine: raw puts on the same store, and calls that do nothing."""

import json
import os
import subprocess

from .process import Failed
from .workloads import machine


def puts(programs, store, clients, seconds, flags=(), env=None):
    """`lazarus bench store` on a store: by number of clients, what raw put-if-absent takes."""
    command = [programs.engine, "bench", "store", "--store", store, "--json", "--count", 1_000_000]
    command += ["--seconds", max(1, round(seconds)), "--clients", ",".join(map(str, clients)), *flags]
    load = machine()
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, env={**os.environ, **(env or {})})
    if ended.returncode:
        raise Failed(f"lazarus bench store: {ended.stderr.strip()}")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    found = {
        line["clients"]: {
            "rate": line["per_second"],
            "p50_ms": line["p50_ms"],
            "p99_ms": line["p99_ms"],
            "machine": load,
        }
        for line in lines
        if line.get("measured", "").lower().startswith("put")
    }
    if not found:
        raise Failed(f"lazarus bench store measured no puts: {ended.stdout}")
    return found


def echo(system, clients, seconds):
    """Calls of the engine's health service, which nothing stands behind."""
    load = machine()
    figures = system.ask("echo", "--clients", clients, "--seconds", seconds)
    return {**figures, "machine": load}
