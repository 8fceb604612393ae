"""Child processes that are waited for with a limit, leave a log, and never outlive the suite.

Invariant: every wait has a deadline, and what runs out of time says what it waited for.
"""

from __future__ import annotations

import atexit
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_running: set[Child] = set()


class TimedOut(AssertionError):
    """Something did not happen in time."""


def eventually(
    look: Callable[[], T | None], what: str, seconds: float = 20.0, every: float = 0.05
) -> T:
    """The first truthy answer of `look`, or a failure that names `what` and the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimedOut(f"not within {seconds} s: {what}; last seen: {seen!r}")
        time.sleep(every)


def free_port() -> int:
    """A loopback port that nobody listens on.

    Below the range that the system hands out itself, so that nobody takes it while an engine is
    down between a kill and its restart.
    """
    for _ in range(200):
        port = random.SystemRandom().randint(20_000, 31_999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 31999 on 127.0.0.1")


def environment(**more: str) -> dict[str, str]:
    """The environment of every child: output at once, and no proxy between loopback and loopback."""
    loopback = "127.0.0.1,localhost"
    return dict(
        os.environ,
        PYTHONUNBUFFERED="1",
        PYTHONDONTWRITEBYTECODE="1",
        no_proxy=loopback,
        NO_PROXY=loopback,
        **more,
    )


class Child:
    """One process with its output in a file."""

    def __init__(self, name: str, argv: list[str], log: Path, env: dict[str, str], cwd: Path) -> None:
        self.name = name
        self.log = log
        self.argv = argv
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        _running.add(self)

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_up(self) -> bool:
        return self.process.poll() is None

    def kill9(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        self.wait(10)

    def terminate(self, seconds: float = 15.0) -> int:
        """Asks it to end; the exit code, or a failure when it does not within `seconds`."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as expired:
            raise TimedOut(f"{self.name} did not end within {seconds} s") from expired
        _running.discard(self)
        return code

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.output().splitlines()[-lines:])


@atexit.register
def _end_all() -> None:
    for child in list(_running):
        if child.is_up():
            child.process.kill()
            child.process.wait(10)
