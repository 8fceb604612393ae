"""A server on this machine's loopback: started, waited for, given a bucket, stopped by its own pids.

Owns the life of the processes of one server and its folder. Invariants:
* whoever starts a server stops it, also after a failure, SIGINT or SIGTERM;
* a process is ended by its pid, and only while it is still the one that was started;
* whatever the server keeps is in its folder.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_SECONDS = 60
STOP_SECONDS = 10


class Failed(Exception):
    """Something a person must look at; the message is for them."""


class Server:
    """One server: a script says what it is called, how it is installed and what is launched."""

    # Also a part of the command line of each of its processes, by which they are known again.
    name: str
    # What it is for; the help of its script.
    about: str

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port or free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = home / "log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def install(self) -> None:
        """Makes it ready to be launched; quick when it is so already."""
        raise NotImplementedError

    def boot(self) -> None:
        """Launches its processes."""
        raise NotImplementedError

    def create_bucket(self) -> tuple[int, bytes]:
        """Asks it for the one bucket that tests use; the status and the body of its answer."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        """What a client needs in its environment. A run of its own gets a prefix of its own."""
        raise NotImplementedError

    def start(self) -> None:
        self.install()
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            self.boot()
            self.wait_for_bucket()
        except BaseException:
            self.stop()
            raise

    def launch(self, argv: list[str | Path], **environment: str) -> None:
        """Starts one process that runs until `stop`."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in argv],
                cwd=self.home,
                env=self.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only the one who will stop it
            )
        self.processes.append(process)

    def once(self, argv: list[str | Path], seconds: float = 60, **environment: str) -> None:
        """Runs one command to its end."""
        words = [str(part) for part in argv]
        with self.log.open("ab") as log:
            try:
                done = subprocess.run(
                    words,
                    cwd=self.home,
                    env=self.environment(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=seconds,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise Failed(f"{words[0]} did not end in {seconds:.0f} s\n{self.log_tail()}") from error
        if done.returncode != 0:
            raise Failed(f"{' '.join(words)} ended with {done.returncode}\n{self.log_tail()}")

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        return dict(os.environ, TMPDIR=str(self.home), PYTHONUNBUFFERED="1", **more)

    def wait_for_bucket(self) -> None:
        """Returns when the bucket is there, which is when the server is ready."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            for process in self.processes:
                if process.poll() is not None:
                    raise Failed(f"it ended with {process.returncode}\n{self.log_tail()}")
            try:
                status, answer = self.create_bucket()
                why = f"{status} {answer[:500].decode(errors='replace')}"
            except OSError as error:
                status, why = 503, str(error)
            # 409: it is there already, as an earlier try got through without its answer.
            if status in (200, 201, 409):
                return
            if status < 500 or time.monotonic() > deadline:
                raise Failed(f"it made no bucket: {why}\n{self.log_tail()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends its processes, the last first."""
        for process in reversed(self.processes):
            stop_process(process)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""


def free_port() -> int:
    """A loopback port that nobody listens on, below those that the system hands out itself."""
    for _ in range(200):
        port = random.randint(20_000, 31_999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("no free port between 20000 and 31999 on 127.0.0.1")


def request(
    method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """The status and the body of an answer; an `OSError` where there is none."""
    asked = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    # No proxy, whatever the environment says: this never leaves the machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=5) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Ends a child, politely and then not."""
    for end in (process.terminate, process.kill):
        end()
        try:
            process.wait(STOP_SECONDS)
            return
        except subprocess.TimeoutExpired:
            continue
    raise Failed(f"process {process.pid} does not end")


def stop_pid(pid: int, name: str) -> None:
    """Ends a process of the server `name` that an earlier command started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_ours(pid, name):
            return
        os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while is_ours(pid, name) and time.monotonic() < deadline:
            time.sleep(0.05)
    if is_ours(pid, name):
        raise Failed(f"process {pid} does not end")


def is_ours(pid: int, name: str) -> bool:
    """Whether `pid` is still the server that was started, and not a later process of that number."""
    try:
        # A process that ended but was not waited for has an empty one.
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return False
        listing = ["ps", "-o", "args=", "-p", str(pid)]
        command = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    return name in command
