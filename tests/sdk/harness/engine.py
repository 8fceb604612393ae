"""A real engine: the binary that was built, on ports of its own, killed and started again at will."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import Child, TimedOut, environment, free_port

REPOSITORY = Path(__file__).resolve().parents[3]
READY_SECONDS = 30.0


def binary() -> Path:
    """The engine under test: `LAZARUS_BIN`, or what `cargo build` made."""
    path = Path(os.environ.get("LAZARUS_BIN", REPOSITORY / "target" / "debug" / "lazarus"))
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run `cargo build` first")
    return path.resolve()


@dataclass(frozen=True)
class Command:
    """What a client command of the binary answered."""

    code: int
    out: str
    err: str


class Engine:
    """One `lazarus serve` on one store; the same store and ports after every restart."""

    def __init__(self, folder: Path, store: str, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = store
        self.options = list(options)
        self.log = folder / "engine.log"
        self.grpc_port = free_port()
        self.http_port = free_port()
        self.child: Child | None = None
        self.starts = 0

    @property
    def address(self) -> str:
        """Where workers and stubs connect."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def command(self) -> list[str]:
        """The command, and the option that names its store."""
        return ["serve", "--store", self.store]

    def start(self) -> Engine:
        """Starts it and waits until /readyz says so."""
        argv = [
            *[str(binary()), *self.command],
            *["--grpc", self.address, "--http", f"127.0.0.1:{self.http_port}"],
            *self.options,
        ]
        self.starts += 1
        with self.log.open("a") as log:
            log.write(f"--- start {self.starts}: {' '.join(argv)}\n")
        self.child = Child("the engine", argv, self.log, environment(), self.folder)
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            if not self.running.is_up():
                code = self.running.process.returncode
                raise TimedOut(f"the engine ended with {code} at its start\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise TimedOut(f"/readyz not within {READY_SECONDS} s\n{self.log_tail()}")
            time.sleep(0.02)

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz", seconds=2).startswith("200")
        except OSError:
            return False

    def get(self, path: str, seconds: float = 5.0) -> str:
        """The status and the body of an HTTP GET."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.http_port}{path}", timeout=seconds) as reply:
            return f"{reply.status} {reply.read().decode()}"

    @property
    def running(self) -> Child:
        assert self.child is not None, "the engine was not started"
        return self.child

    def kill9(self) -> None:
        self.running.kill9()

    def stop(self) -> None:
        if self.child is not None and self.child.is_up():
            self.child.terminate()

    def log_tail(self, lines: int = 80) -> str:
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def cli(self, *arguments: str, seconds: float = 30.0) -> Command:
        """Runs a client command of the binary against this engine."""
        done = subprocess.run(
            [str(binary()), *arguments],
            env=environment(LAZARUS_SERVER=f"http://{self.address}"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Command(done.returncode, done.stdout, done.stderr)

    def commits(self, execution: str) -> list[dict[str, Any]]:
        """The commits of an execution's newest run exactly as they are stored, oldest first."""
        answer = self.cli("log", "cat", execution)
        assert answer.code == 0, f"log cat {execution}: {answer}"
        return parse_commits(answer.out)

    def events(self, execution: str) -> list[dict[str, Any]]:
        """The events of an execution's newest run, each with the time `t` of its commit."""
        return [
            {**event, "t": commit["t"]}
            for commit in self.commits(execution)
            for event in commit["events"]
        ]


class TlsEngine(Engine):
    """One `lazarus dev` that lets workers in by certificate, on a port beside the plain one."""

    def __init__(self, folder: Path, certificates: Path, *options: str) -> None:
        super().__init__(folder, str(folder / "store"), *options)
        self.tls_port = free_port()
        self.options += [
            *["--grpc-tls", f"127.0.0.1:{self.tls_port}"],
            *["--tls-cert", str(certificates / "server.crt")],
            *["--tls-key", str(certificates / "server.key")],
            *["--tls-client-ca", str(certificates / "ca.crt")],
        ]

    @property
    def command(self) -> list[str]:
        return ["dev", "--dir", self.store, "--log", "info"]


def make_certificates(folder: Path) -> Path:
    """A set of `lazarus dev-certs`, in `folder`."""
    argv = [str(binary()), "dev-certs", str(folder)]
    subprocess.run(argv, env=environment(), check=True, capture_output=True, timeout=30)
    return folder


def parse_commits(text: str) -> list[dict[str, Any]]:
    """The JSON documents in `text`, in order, whatever stands between them."""
    commits, at, decoder = [], 0, json.JSONDecoder()
    while (at := text.find("{", at)) >= 0:
        commit, at = decoder.raw_decode(text, at)
        commits.append(commit)
    assert [commit["seq"] for commit in commits] == list(range(len(commits))), text[:2000]
    return commits


def kinds(events: list[dict[str, Any]], step: str | None = None) -> list[str]:
    """The kinds of `events`, of one step if it is given."""
    return [event["k"] for event in events if step is None or event.get("step") == step]


def results(events: list[dict[str, Any]]) -> dict[str, int]:
    """How many results each step has in the log: what promise 2 says is exactly one."""
    counted: dict[str, int] = {}
    for event in events:
        if event["k"] in {"step_completed", "sleep_ended", "approval_granted", "step_failed"}:
            counted[event["step"]] = counted.get(event["step"], 0) + 1
    return counted
