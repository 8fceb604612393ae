#!/usr/bin/env python3
"""An S3 server, and if need be Lambda with its schedules, on this machine's loopback: started, given a bucket, stopped by its own pid.

    python localstack/ministack.py start            # prints the variables to export
    python localstack/ministack.py stop
    python localstack/ministack.py run COMMAND...   # starts it, runs COMMAND with them, stops it
    python localstack/ministack.py --services s3,lambda,events run COMMAND...

Needs only the standard library here, and `ministack` (localstack/requirements.txt) beside this
Python or on the PATH. Whatever the server keeps is in its folder and gone with it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent / ".servers" / "ministack"
BUCKET = "lazarus-test"
READY_SECONDS = 60
STOP_SECONDS = 10


class Failed(Exception):
    """Something a person must look at; the message is for them."""


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


def executable() -> str:
    beside = Path(sys.executable).parent / "ministack"
    found = str(beside) if beside.exists() else shutil.which("ministack")
    if found is None:
        raise Failed("ministack is not installed: pip install -r localstack/requirements.txt")
    return found


class Server:
    """One running server and its folder."""

    def __init__(self, home: Path, port: int, services: str) -> None:
        self.home = home
        self.services = services
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = home / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        environment = dict(
            os.environ,
            BIND_HOST="127.0.0.1",  # its default is every interface
            GATEWAY_PORT=str(self.port),
            SERVICES=self.services,
            TMPDIR=str(self.home),
            STATE_DIR=str(self.home / "state"),
            S3_DATA_DIR=str(self.home / "s3"),
            PYTHONUNBUFFERED="1",
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [executable()],
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only the one who will stop it
            )
        try:
            self.wait_until_ready()
            self.request("PUT", f"/{BUCKET}")
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if self.process is not None and self.process.poll() is not None:
                raise Failed(f"ministack ended with {self.process.returncode}\n{self.log_tail()}")
            try:
                self.request("GET", "/")
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Failed(
                        f"S3 did not answer within {READY_SECONDS} s: {error}\n{self.log_tail()}"
                    ) from error
            time.sleep(0.1)

    def request(self, method: str, path: str) -> None:
        request = urllib.request.Request(self.endpoint + path, method=method)
        # No proxy, whatever the environment says: this never leaves the machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=5) as reply:
            reply.read()

    def stop(self) -> None:
        if self.process is not None:
            stop_pid(self.process.pid, self.process)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def variables(self) -> dict[str, str]:
        """What a client needs. A run of its own gets a prefix of its own."""
        return {
            "LAZARUS_TEST_S3_URL": f"s3://{BUCKET}/run-{os.urandom(4).hex()}",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def stop_pid(pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Ends `pid`, politely and then not."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if process is not None and process.poll() is not None:
                return
            if process is None and not is_ours(pid):
                return
            time.sleep(0.05)
    raise Failed(f"process {pid} does not end")


def is_ours(pid: int) -> bool:
    """Whether `pid` is still the server that was started, and not a later process of that number."""
    try:
        # A process that ended but was not waited for has an empty one.
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return False
        listing = ["ps", "-o", "args=", "-p", str(pid)]
        command = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    return "ministack" in command


def start(port: int, services: str) -> int:
    pid_file = HOME / "pid"
    if pid_file.exists() and is_ours(int(pid_file.read_text())):
        raise Failed(f"it runs already, as process {pid_file.read_text()}; stop it first")
    server = Server(HOME, port or free_port(), services)
    server.start()
    assert server.process is not None
    pid_file.write_text(str(server.process.pid))
    lines = [f"export {name}={value}" for name, value in server.variables().items()]
    (HOME / "env").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"# S3 at {server.endpoint}, process {server.process.pid}, log {server.log}", file=sys.stderr)
    return 0


def stop() -> int:
    pid_file = HOME / "pid"
    if pid_file.exists():
        pid = int(pid_file.read_text())
        if is_ours(pid):
            stop_pid(pid)
    shutil.rmtree(HOME, ignore_errors=True)
    return 0


def run(command: list[str], port: int, services: str) -> int:
    with tempfile.TemporaryDirectory(prefix="lazarus-ministack-") as folder:
        server = Server(Path(folder), port or free_port(), services)
        server.start()
        try:
            print(f"# S3 at {server.endpoint}: {' '.join(command)}", file=sys.stderr, flush=True)
            code = subprocess.call(command, env=dict(os.environ, **server.variables()))
            if code != 0:
                print(f"# the S3 server's last words:\n{server.log_tail()}", file=sys.stderr)
            return code
        finally:
            server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="A local S3 server for tests.")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--services", default="s3", help="what it answers; default: s3")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="start it and print the variables to export")
    commands.add_parser("stop", help="stop it and remove what it kept")
    commands.add_parser("run", help="run a command with it").add_argument(
        "argv", nargs=argparse.REMAINDER, metavar="COMMAND"
    )
    arguments = parser.parse_args()
    # A terminated script stops its server, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if arguments.command == "start":
            return start(arguments.port, arguments.services)
        if arguments.command == "stop":
            return stop()
        if not arguments.argv:
            parser.error("run what?")
        return run(arguments.argv, arguments.port, arguments.services)
    except Failed as failure:
        print(f"ministack.py: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
