"""The command line of every start script.

    python3 localstack/SERVER.py install          # what the others do first, where it is missing
    python3 localstack/SERVER.py start            # prints the variables to export
    python3 localstack/SERVER.py stop
    python3 localstack/SERVER.py run COMMAND...   # starts it, runs COMMAND with them, stops it
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from .install import REPOSITORY
from .server import Failed, Server, is_ours, stop_pid, stop_process


def main(kind: type[Server]) -> int:
    arguments = _parse(kind)
    # Whoever is terminated stops what it started, as one who is interrupted does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        if arguments.command == "install":
            kind(_home(kind), arguments.port).install()
            return 0
        if arguments.command == "start":
            return _start(kind, arguments.port)
        if arguments.command == "stop":
            return _stop(kind)
        return _run(kind, arguments.argv, arguments.port)
    except Failed as failure:
        print(f"{kind.name}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parse(kind: type[Server]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"{kind.name}: {kind.about}")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="install it, if it is missing")
    commands.add_parser("start", help="start it and print the variables to export")
    commands.add_parser("stop", help="stop it and remove what it kept")
    run = commands.add_parser("run", help="run a command with it")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    arguments = parser.parse_args()
    if arguments.command == "run" and not arguments.argv:
        parser.error("run what?")
    return arguments


def _home(kind: type[Server]) -> Path:
    return REPOSITORY / ".servers" / kind.name


def _start(kind: type[Server], port: int) -> int:
    home = _home(kind)
    running = [pid for pid in _pids(home) if is_ours(pid, kind.name)]
    if running:
        raise Failed(f"it runs already, as process {running[0]}; stop it first")
    shutil.rmtree(home, ignore_errors=True)
    server = kind(home, port)
    server.start()
    pids = [process.pid for process in server.processes]
    (home / "pid").write_text("".join(f"{pid}\n" for pid in pids))
    lines = [f"export {name}={shlex.quote(value)}" for name, value in server.variables().items()]
    (home / "env").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"# {server.endpoint}, pid {pids[-1]}, log {server.log}", file=sys.stderr)
    return 0


def _stop(kind: type[Server]) -> int:
    home = _home(kind)
    for pid in reversed(_pids(home)):
        stop_pid(pid, kind.name)
    shutil.rmtree(home, ignore_errors=True)
    return 0


def _pids(home: Path) -> list[int]:
    file = home / "pid"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def _run(kind: type[Server], command: list[str], port: int) -> int:
    with tempfile.TemporaryDirectory(prefix=f"lazarus-{kind.name}-") as folder:
        server = kind(Path(folder), port)
        server.start()
        try:
            print(f"# {kind.name} at {server.endpoint}: {' '.join(command)}", file=sys.stderr, flush=True)
            code = _call(command, dict(os.environ, **server.variables()))
            if code != 0:
                print(f"# the last words of {kind.name}:\n{server.log_tail()}", file=sys.stderr)
            return code
        finally:
            server.stop()


def _call(command: list[str], environment: dict[str, str]) -> int:
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise Failed(f"{command[0]} can not be run: {error}") from error
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            stop_process(process)
