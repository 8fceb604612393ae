"""What the steps leave behind outside the engine, so that tests can count how often a body ran."""

from __future__ import annotations

import os
from pathlib import Path


def leave(name: str, text: str = "") -> int:
    """Notes that the body of `name` runs; how many times it has run by now."""
    path = Path(os.environ["FLOW_SCRATCH"]) / f"{name}.trace"
    with path.open("a", encoding="utf-8") as trace:
        trace.write(f"{text or os.getpid()}\n")
    return count(path.parent, name)


def count(scratch: Path, name: str) -> int:
    """How many times the body of `name` ran."""
    path = scratch / f"{name}.trace"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
