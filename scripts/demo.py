#!/usr/bin/env python3
"""`make demo`: a workflow sleeps, its engine is killed with -9, another one finishes it on time.

Starts the engine that `cargo build` made and the worker of examples/python/deployment.py, kills the
engine in the middle of the sleep, starts it again on the same directory, and shows the history.
Everything it says about the run it has checked in the log first; if anything is not as promised, it
shows all logs and ends with 1.

Needs the standard library, and the SDK in the Python that runs it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("LAZARUS_BIN", REPOSITORY / "target" / "debug" / "lazarus"))
WORKER = REPOSITORY / "examples" / "python" / "deployment.py"
EXECUTION = "web-1"
INPUT = {"app": "web", "version": "1.4.2"}
STEPS = ["start_process", "wait_for_deployment", "finalize"]
ASLEEP_SECONDS = 2  # how long it may sleep in peace
DOWN_SECONDS = 4  # how long there is no engine

COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ
BEGAN = time.monotonic()


class Broken(Exception):
    """Something is not as promised; the message says what."""


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOURED else text


def say(text: str = "") -> None:
    """A line of the story, with the seconds since it began."""
    clock = paint("2", f"{time.monotonic() - BEGAN:5.1f} s")
    print(f"{clock}  {text}" if text else "", flush=True)


def free_port() -> int:
    """One that nobody listens on, below those that the system may give away while we are down."""
    while True:
        port = random.randint(20_000, 31_999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(look: Callable[[], Any], what: str, seconds: float) -> Any:
    """The first truthy answer of `look`; gives up after `seconds`, saying what it waited for."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise Broken(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
    return seen


class Demo:
    """The processes of one demonstration, and where they keep what they write."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.state = scratch / "state"
        self.engine_log = scratch / "engine.log"
        self.worker_log = scratch / "worker.log"
        self.grpc = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self.engine: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[str] | None = None
        self.worker_said = ""
        loopback = "127.0.0.1,localhost"
        self.environment = dict(
            os.environ,
            LAZARUS_SERVER=f"http://{self.grpc}",
            PYTHONUNBUFFERED="1",
            no_proxy=loopback,
            NO_PROXY=loopback,
        )

    # The engine.

    def start_engine(self) -> int:
        argv = [str(BINARY), "dev", "--dir", str(self.state), "--grpc", self.grpc]
        argv += ["--http", self.http]
        with self.engine_log.open("ab") as log:
            self.engine = subprocess.Popen(
                argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self.engine_is_ready, "the engine is ready", 30)
        return self.engine.pid

    def engine_is_ready(self) -> bool:
        assert self.engine is not None
        if self.engine.poll() is not None:
            raise Broken(f"the engine ended with {self.engine.returncode} at its start")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self.http}/readyz", timeout=2) as reply:
                return reply.status == 200
        except OSError:
            return False

    def kill_engine(self) -> None:
        assert self.engine is not None
        self.engine.send_signal(signal.SIGKILL)
        self.engine.wait(10)

    # The worker.

    def start_worker(self) -> int:
        self.worker = subprocess.Popen(
            [sys.executable, str(WORKER), self.grpc],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self.relay_worker, daemon=True).start()
        until(lambda: "blueprint submitted" in self.worker_said, "the worker is registered", 30)
        return self.worker.pid

    def relay_worker(self) -> None:
        """Shows what the worker prints, but for the SDK's debug lines; the log has them all."""
        assert self.worker is not None and self.worker.stdout is not None
        with self.worker_log.open("a", encoding="utf-8") as log:
            for line in self.worker.stdout:
                self.worker_said += line
                log.write(line)
                log.flush()
                # Nor the inside of an error that it prints with all its fields.
                if line.strip() and not line.startswith(("!!!", "\t", ">")):
                    shown = line.split(": <_InactiveRpcError")[0].rstrip()
                    say(paint("2", f"  worker │ {shown}"))

    # The client.

    def lazarus(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(BINARY), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode != 0:
            raise Broken(f"lazarus {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def events(self) -> list[dict[str, Any]]:
        """Every event in the log, as it is stored, with the time `t` of its commit."""
        text, at, found = self.lazarus("log", "cat", EXECUTION), 0, []
        while (at := text.find("{", at)) >= 0:
            commit, at = json.JSONDecoder().raw_decode(text, at)
            found += [{**event, "t": commit["t"]} for event in commit["events"]]
        return found

    def has(self, kind: str) -> bool:
        return any(event["k"] == kind for event in self.events())

    def end(self) -> None:
        for process in (self.worker, self.engine):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)

    def show_logs(self) -> None:
        for log in (self.engine_log, self.worker_log):
            if log.exists():
                print(f"\n--- {log.name}", file=sys.stderr)
                print(log.read_text(errors="replace")[-8000:], file=sys.stderr)


def only(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [event for event in events if event["k"] == kind]
    if len(found) != 1:
        raise Broken(f"the log has {len(found)} events `{kind}`, not one")
    return found[0]


def check(events: list[dict[str, Any]]) -> float:
    """What the demonstration promises; how many milliseconds after it was due the sleep ended."""
    done = [e["step"] for e in events if e["k"] in ("step_completed", "sleep_ended")]
    if sorted(done) != sorted(STEPS):
        raise Broken(f"each step should have one result in the log, but these have: {done}")
    slept, woke = only(events, "sleep_started"), only(events, "sleep_ended")
    if slept["duration_ms"] != 10_000:
        raise Broken(f"it slept for {slept['duration_ms']} ms and not for 10000")
    if woke["t"] < slept["until"]:
        raise Broken(f"the sleep ended {slept['until'] - woke['t']} ms early")
    only(events, "execution_completed")
    return woke["t"] - slept["until"]


def play(demo: Demo) -> None:
    print(paint("1", "\nA workflow sleeps, everything is killed, and it comes back.\n"))
    first = demo.start_engine()
    say(f"The engine is up (process {first}). All it knows is in one directory: {demo.state}")
    demo.start_worker()
    sdk = version("cerebelum-sdk")
    say(f"The worker is up: cerebelum-sdk {sdk}, as published, with examples/python/deployment.py")
    say()
    say(paint("1", f"$ lazarus start deployment --id {EXECUTION} --input '{json.dumps(INPUT)}'"))
    demo.lazarus("start", "deployment", "--id", EXECUTION, "--input", json.dumps(INPUT))
    until(lambda: demo.has("sleep_started"), "the workflow sleeps", 20)
    slept_at = time.monotonic()
    say("Its second step waits for a deployment: it sleeps for 10 s. Let it sleep a little ...")
    time.sleep(ASLEEP_SECONDS)
    say()
    say(paint("1;31", f"$ kill -9 {first}"))
    demo.kill_engine()
    say(f"The engine is dead. No process knows of the sleep any more. {DOWN_SECONDS} s of nothing ...")
    time.sleep(DOWN_SECONDS)
    say()
    second = demo.start_engine()
    say(paint("1;32", f"Another engine is up (process {second}), on the same directory."))
    left = 10 - (time.monotonic() - slept_at)
    say(f"The sleep has about {left:.0f} s to go; the worker finds the engine by itself.")
    until(lambda: demo.has("execution_completed"), "the workflow completes", 30)
    say()
    late = check(demo.events())
    say(paint("1", f"$ lazarus history {EXECUTION}"))
    print()
    print(demo.lazarus("history", EXECUTION))
    print(paint("1;32", "What you just saw"))
    print(
        f"""  * Process {first} died with kill -9 while the workflow slept; process {second} finished it.
  * The sleep was over {late:.0f} ms after its 10 s, and not one early.
  * Each of the three steps has exactly one result in the log.
  * No database, no cluster: the state is an append-only log. Here it is in a directory;
    with `lazarus serve --store s3://bucket/prefix` it is in a bucket.
"""
    )


def main() -> int:
    if not BINARY.exists():
        print(f"demo: {BINARY} does not exist; run `cargo build` first", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="lazarus-demo-") as scratch:
        demo = Demo(Path(scratch))
        try:
            play(demo)
            return 0
        except (Broken, subprocess.TimeoutExpired) as problem:
            demo.show_logs()
            print(f"\ndemo: NOT AS PROMISED: {problem}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            demo.end()


if __name__ == "__main__":
    sys.exit(main())
