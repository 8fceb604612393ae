"""Processes of a measurement: started with a log, read in /proc, stopped by their own pid."""

import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.2


class Failed(Exception):
    """A measurement can not be made; the message says why and what to do."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Process:
    """A process with what it starts itself, which never outlives this one's `stop`."""

    def __init__(self, name, command, log, user=None, **env):
        self.name, self.log_path = name, pathlib.Path(log)
        with open(log, "ab") as output:
            try:
                self.child = subprocess.Popen(
                    [str(part) for part in command],
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **env},
                    start_new_session=True,
                    user=user,
                )
            except OSError as error:
                raise Failed(f"{command[0]} can not be started: {error}") from error
        self.pid = self.child.pid

    def until(self, check, seconds=60):
        """Waits until `check` is true; it may raise what a server that is not up yet makes it raise."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.require_up()
            try:
                if check():
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise Failed(f"{self.name} is not up after {seconds} s:\n{self.words()}")

    def require_up(self):
        if self.child.poll() is not None:
            raise Failed(f"{self.name} ended with {self.child.returncode}:\n{self.words()}")

    def words(self, lines=15):
        """The last it has said."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, how=signal.SIGKILL, seconds=15):
        """Ends it, and whatever it started. Waits until it is gone."""
        if self.child.poll() is None:
            os.killpg(self.pid, how)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.child.wait()


def tree(pid):
    """The process and all below it."""
    found = [pid]
    for parent in found:
        for task in _glob(parent):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                pass  # it has just ended
    return found


def _glob(pid):
    return pathlib.Path(f"/proc/{pid}/task").glob("*/children")


def _field(pid, file, name):
    """The number after `name:` in a file of /proc, or 0 where the process is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def cpu_seconds(processes):
    """Of these processes and all they started, whether those still run or not."""
    total = 0.0
    for process in processes:
        for pid in tree(process.pid):
            try:
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            # User and system time, and those of the children that it has waited for.
            total += sum(int(field) for field in stat.rsplit(")", 1)[1].split()[11:15]) / TICKS
    return total


def memory_mb(processes):
    """What they hold now; pages that several share count once."""
    pids = [pid for process in processes for pid in tree(process.pid)]
    if len(pids) == 1:
        return _field(pids[0], "status", "VmRSS") / 1024
    return sum(_field(pid, "smaps_rollup", "Pss") for pid in pids) / 1024


def written_bytes(processes):
    """What they have handed to the disk so far."""
    return sum(
        _field(pid, "io", "write_bytes") for process in processes for pid in tree(process.pid)
    )


class Peak:
    """The most memory that processes held while this was open, looked at five times a second."""

    def __init__(self, processes):
        self.processes = processes
        self.mb = self.first_mb = memory_mb(processes())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self):
        while not self._over.wait(SAMPLE_SECONDS):
            self.mb = max(self.mb, memory_mb(self.processes()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.mb = max(self.mb, memory_mb(self.processes()))
