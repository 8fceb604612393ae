"""Workers: those of the published SDK, unmodified, one per process, for they block their event loop."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from .processes import Child, environment, eventually

SUITE = Path(__file__).resolve().parents[1]


class WorkerProcess(Child):
    """A process that serves the workflows of one module of `flows`."""

    def __init__(
        self, address: str, flow: str, worker_id: str, scratch: Path, *options: str
    ) -> None:
        self.worker_id = worker_id
        argv = [sys.executable, "-m", "flows.serve", flow]
        argv += ["--core", address, "--id", worker_id, *options]
        env = environment(FLOW_SCRATCH=str(scratch))
        super().__init__(f"worker {worker_id}", argv, scratch / f"{worker_id}.log", env, SUITE)

    def wait_until_registered(self, seconds: float = 30.0) -> WorkerProcess:
        """Waits until it said that the engine knows it and its blueprints."""
        eventually(self.is_registered, f"{self.name} registers", seconds)
        return self

    def is_registered(self) -> bool:
        self.require_up()
        output = self.output()
        announced = re.search(r"SUBMITS (\d+) BLUEPRINTS", output)
        submitted = output.count("blueprint submitted successfully")
        return self.registrations() > 0 and bool(announced) and submitted >= int(announced[1])

    def require_up(self) -> None:
        assert self.is_up(), f"{self.name} ended:\n{self.log_tail()}"

    def registrations(self) -> int:
        """How often the engine accepted it: once, and once more for every reconnect."""
        return self.output().count("registered successfully")


class GenericWorker(Child):
    """`python -m cerebelum.worker`, in a home and a project of its own."""

    def __init__(self, port: int, workflow: Path, certificates: Path, scratch: Path) -> None:
        project, home = scratch / "project", scratch / "home"
        keys = home / ".cerebelum" / "certs"
        for folder in (project, keys):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(workflow, project / "workflow.py")
        for name in ("ca.crt", "client.crt", "client.key"):
            shutil.copy(certificates / name, keys)
        env = environment(
            HOME=str(home),
            CEREBELUM_ENGINE="localhost",
            CEREBELUM_GRPC_PORT=str(port),
            FLOW_SCRATCH=str(scratch),
        )
        argv = [sys.executable, "-m", "cerebelum.worker"]
        super().__init__("the generic worker", argv, scratch / "generic.log", env, project)

    def wait_until_registered(self, seconds: float = 30.0) -> GenericWorker:
        def registered() -> bool:
            assert self.is_up(), f"{self.name} ended:\n{self.log_tail()}"
            return "Worker registered" in self.output()

        eventually(registered, f"{self.name} registers", seconds)
        return self
