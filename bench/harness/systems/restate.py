"""Restate: its server with default settings, and a worker on its Rust SDK."""

import json
import pathlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

from ..process import Failed, Process, free_port, is_listening
from .base import System

VERSION = "1.7.12"
PACKAGE = f"@restatedev/restate-server@{VERSION}"


def install(peers):
    """The server's binary, out of its npm package."""
    pattern = "node_modules/@restatedev/restate-server-linux-*/**/restate-server"
    found = next(peers.glob(pattern), None)
    if found:
        return found
    if not shutil.which("npm"):
        raise Failed("npm is missing: Restate's server is an npm package (Debian: apt install npm), or --systems without restate")
    peers.mkdir(exist_ok=True)
    print(f"installing {PACKAGE}", file=sys.stderr)
    command = ["npm", "install", "--no-save", "--prefix", peers, PACKAGE]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        raise Failed(f"npm could not install {PACKAGE}")
    found = next(peers.glob(pattern), None)
    if not found:
        raise Failed(f"{PACKAGE} brings no server for this machine")
    return found


class Restate(System):
    name = "restate"
    can = frozenset({"chain10", "fan100", "payload", "sleepers", "restart", "long", "aged"})

    def __init__(self, programs, binary):
        self.programs, self.binary = programs, binary

    def start(self, home):
        self.home = pathlib.Path(home)
        self.ingress, self.admin, self.node, self.service = (free_port() for _ in range(4))
        worker = [self.programs.restate, "worker", "--address", f"127.0.0.1:{self.service}"]
        self.workers = [Process("the worker of restate", worker, self.home / "worker.log")]
        self.workers[0].until(lambda: is_listening(self.service))
        self.again()
        self.server.until(self._register)

    def _register(self):
        body = json.dumps({"uri": f"http://127.0.0.1:{self.service}"}).encode()
        headers = {"content-type": "application/json"}
        url = f"http://127.0.0.1:{self.admin}/deployments"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as it:
                return it.status in (200, 201)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise Failed(f"restate refuses the worker: {error.read().decode()}") from error
            return False

    def again(self):
        command = [self.binary, "--base-dir", self.home / "data", "--node-name", "bench"]
        self.server = Process(
            self.name,
            command,
            self.home / "server.log",
            RESTATE_INGRESS__BIND_ADDRESS=f"127.0.0.1:{self.ingress}",
            RESTATE_ADMIN__BIND_ADDRESS=f"127.0.0.1:{self.admin}",
            RESTATE_BIND_ADDRESS=f"127.0.0.1:{self.node}",
            RESTATE_ADVERTISED_ADDRESS=f"http://127.0.0.1:{self.node}",
            RESTATE_LOG_FILTER="warn",
            DO_NOT_TRACK="1",
        )
        self.servers = (self.server,)

    def client(self):
        return [self.programs.restate, "--ingress", f"http://127.0.0.1:{self.ingress}"]
