"""DBOS: a library for Python, on Debian's PostgreSQL with default settings."""

import os
import pathlib
import pwd
import signal
import subprocess

from ..process import Failed, Process, free_port, is_listening
from ..python import python_with
from .base import System

VERSION = "3.4.0"
APP = pathlib.Path(__file__).resolve().parents[2] / "dbos_app.py"


def install(peers):
    """Its Python, and the folder of PostgreSQL's programs."""
    versions = pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(versions, key=lambda it: int(it.parts[-3]), default=None)
    if not newest:
        raise Failed("PostgreSQL is missing (Debian: apt install postgresql), or --systems without dbos")
    return python_with(peers / "dbos", f"dbos=={VERSION}"), newest.parent


class Dbos(System):
    name = "dbos"
    can = frozenset({"chain10", "fan100", "payload", "sleepers"})

    def __init__(self, python, postgres):
        self.python, self.postgres = python, postgres
        self.server = None
        # PostgreSQL does not run as root.
        self.user = "postgres" if os.geteuid() == 0 else None

    def start(self, home):
        home = pathlib.Path(home)
        data, port = home / "data", free_port()
        data.mkdir()
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(data, account.pw_uid, account.pw_gid)
            home.chmod(0o755)
        init = [self.postgres / "initdb", "-D", data, "-U", "bench", "--auth", "trust"]
        ended = subprocess.run(init, capture_output=True, text=True, user=self.user, cwd=data)
        if ended.returncode:
            raise Failed(f"initdb: {ended.stderr}")
        # Its lock file would be in a folder that is not ours, and it needs no socket of that kind.
        command = [self.postgres / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port]
        command += ["-c", "unix_socket_directories="]
        self.server = Process("postgres", command, home / "server.log", user=self.user)
        self.servers = (self.server,)
        self.server.until(lambda: is_listening(port))
        self.database = f"postgresql://bench@127.0.0.1:{port}/bench"
        self.ask("migrate")

    def stop(self):
        if self.server:
            self.server.stop(signal.SIGQUIT)  # its children are in sessions of their own

    def client(self):
        return [self.python, APP, "--database", self.database]

    def sleep(self, prefix, count, per_second):
        # It begins them in the process that runs them, slower than any pace that is asked for.
        return self.ask("sleepers", "--count", count)
