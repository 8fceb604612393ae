"""An engine with workers that several tests share, where each of its own would take too long."""

from __future__ import annotations

from pathlib import Path

from .client import Client
from .engine import Engine
from .own import Lazarus
from .worker import WorkerProcess


class Stage:
    """One engine, its workers and a client of each kind; ended when the `with` is over."""

    def __init__(self, engine: Engine, scratch: Path) -> None:
        self.engine = engine
        self.scratch = scratch
        self.workers: list[WorkerProcess] = []

    def __enter__(self) -> Stage:
        self.engine.start()
        self.client = Client(self.engine.address)
        self.lazarus = Lazarus(self.client.channel)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.is_up():
                worker.kill9()
        self.client.close()
        self.engine.stop()

    @property
    def logs(self) -> list[tuple[str, Path]]:
        """What a failure shows."""
        return [("the stage's engine", self.engine.log)] + [(w.name, w.log) for w in self.workers]

    def employ(self, flow: str, *options: str, count: int = 1) -> list[WorkerProcess]:
        """Starts workers and waits for all of them."""
        first = len(self.workers)
        for number in range(first, first + count):
            name = f"{flow}-{number}"
            worker = WorkerProcess(self.engine.address, flow, name, self.scratch, *options)
            self.workers.append(worker)
        started = self.workers[first:]
        for worker in started:
            worker.wait_until_registered()
        return started
