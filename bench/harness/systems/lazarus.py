"""Lazarus: one engine, and workers of one kind."""

import pathlib
import re
import urllib.request

from ..process import Failed, Process, free_port, is_listening
from ..python import python_with
from .base import System

BENCH = pathlib.Path(__file__).resolve().parents[2]
PYTHON_WORKER = BENCH / "python_worker.py"
PYTHON_WORKERS = 8
REQUIREMENTS = BENCH.parent / "tests" / "sdk" / "requirements.txt"
# `lazarus_store_requests_total{op="put",family="run"} 12`
METRIC = re.compile(r'^lazarus_store_(requests|bytes)_total\{(.*)\} ([0-9.e+]+)$', re.MULTILINE)


class Lazarus(System):
    """An engine on an embedded store of its own, where each commit is synced."""

    can = frozenset(
        {"chain10", "fan100", "payload", "sleepers", "restart", "long", "aged", "bucket"}
    )

    def __init__(self, programs, way, store=None, flags=(), env=None):
        """`store`: a URL in place of an embedded one; `flags`: more of the engine's."""
        self.programs, self.way, self.flags = programs, way, flags
        self.name = f"lazarus, {way}"
        if way != "stream":  # the rest is the same engine, whatever its workers speak
            self.can = frozenset({"chain10", "fan100", "payload"})
        self.store, self.env = store, env or {}
        self.workers = []

    def start(self, home):
        self.home = pathlib.Path(home)
        self.grpc, self.http = free_port(), free_port()
        self.engine = f"http://127.0.0.1:{self.grpc}"
        self.again()
        self.server.until(lambda: is_listening(self.grpc))
        self.ask("define")
        self.start_workers()

    def start_workers(self):
        """Starts what runs the steps."""
        worker = [*self.client(), "worker", "--way", self.way]
        name, log = f"the worker of {self.name}", self.home / "worker.log"
        self.workers = [Process(name, worker, log)]

    def expect_deaths(self, lease):
        self.flags = (*self.flags, "--lease", lease)

    def prepare_long(self, steps):
        worker = [*self.client(), "worker", "--long", steps, "--slots", 1]
        name, log = f"the long worker of {self.name}", self.home / "long-worker.log"
        self.workers.append(Process(name, worker, log))

    def again(self):
        store = self.store or f"embedded:{self.home}/store"
        command = [self.programs.engine, "serve", "--store", store, "--log", "warn", *self.flags]
        command += ["--grpc", f"127.0.0.1:{self.grpc}", "--http", f"127.0.0.1:{self.http}"]
        self.server = Process(self.name, command, self.home / "server.log", **self.env)
        self.servers = (self.server,)

    def client(self):
        return [self.programs.load, "--engine", self.engine]

    def requests(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as answer:
            found = METRIC.findall(answer.read().decode())
        if not found:
            raise Failed(f"{self.name}: /metrics has no lazarus_store_requests_total")
        sums = {}
        for what, labels, value in found:
            op = re.search(r'op="(\w+)"', labels)[1]
            key = f"{op}_{what}"
            sums[key] = sums.get(key, 0) + float(value)
        return sums

    def start_sleepers(self, prefix, count, per_second=0):
        pace = ("--per-second", per_second)
        return self.ask("start", "sleeper", "--prefix", prefix, "--count", count, *pace)

    def sleep_lateness(self, prefix, count):
        return self.ask("late", "--prefix", prefix, "--count", count)

    def verify_once(self, workload, prefix, count):
        return self.ask("once", workload, "--prefix", prefix, "--count", count)


class LazarusPython(Lazarus):
    """The same engine, with processes of the Cerebelum SDK for Python as workers."""

    def __init__(self, programs, python):
        super().__init__(programs, "python sdk")
        self.python = python

    def start_workers(self):
        # It runs one step at a time: one process for each that should run at once.
        for n in range(PYTHON_WORKERS):
            command = [self.python, PYTHON_WORKER, f"127.0.0.1:{self.grpc}", f"python-{n}"]
            log = self.home / f"worker-{n}.log"
            self.workers.append(Process(f"worker {n} of {self.name}", command, log))
        for worker in self.workers:
            worker.until(lambda: "registered successfully" in worker.words())


def install_sdk(peers):
    """The Python that has the SDK, as the tests have it."""
    return python_with(peers / "sdk", "-r", REQUIREMENTS)
