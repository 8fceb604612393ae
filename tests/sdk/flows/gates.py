"""Steps that wait for a test, and counters that survive a step that runs twice."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

SECONDS_MAX = 30.0


def _path(name: str) -> Path:
    return Path(os.environ["FLOW_SCRATCH"]) / name


def opened(scratch: Path, name: str) -> None:
    """Opens the gate `name`; called by tests."""
    (scratch / f"{name}.gate").touch()


def is_open(name: str) -> bool:
    return _path(f"{name}.gate").exists()


async def wait(name: str) -> None:
    """Waits until a test opens the gate `name`."""
    for _ in range(int(SECONDS_MAX / 0.02)):
        if is_open(name):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"nobody opened the gate {name}")


def look(name: str) -> int:
    """The counter `name`."""
    path = _path(f"{name}.counter")
    return int(path.read_text()) if path.exists() else 0


def put(name: str, number: int) -> None:
    """Puts the counter `name`: doing it twice is doing it once, and a death leaves no half of it."""
    path = _path(f"{name}.counter")
    half = path.with_suffix(f".{os.getpid()}")
    half.write_text(str(number))
    half.replace(path)
