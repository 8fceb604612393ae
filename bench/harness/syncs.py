"""Whether a server syncs what it acknowledges: seen by strace, and not assumed."""

import collections
import pathlib
import re
import shutil
import signal

from .process import Failed, Process, tree

# What makes written bytes safe; a file opened with O_SYNC or O_DSYNC does it by itself.
SYNCS = ("fsync", "fdatasync", "sync_file_range", "msync", "syncfs")
CALLS = re.compile(rf"\b({'|'.join(SYNCS)})\(")
OPENED = re.compile(r"\b(openat|open)\(.*O_D?SYNC")
# Long, as every call of a traced process waits for strace.
SECONDS = 10


def watch(system, home):
    """Runs chain10 from one client, and counts the syncs of the server meanwhile.

    One client waits for one execution at a time, so that no sync can serve two of them: a server that
    syncs before it answers has at least one for each.
    """
    if not shutil.which("strace"):
        raise Failed("strace is missing (Debian: apt install strace), or leave out --syncs")
    trace = pathlib.Path(home) / "syncs.trace"
    command = ["strace", "-f", "-qq", "-o", trace, "-e", f"trace={','.join(SYNCS)},openat"]
    for server in system.servers:
        for pid in tree(server.pid):
            command += ["-p", pid]
    strace = Process("strace", command, pathlib.Path(home) / "strace.log")
    try:
        strace.until(lambda: _is_traced(system.servers[0].pid))
        figures = system.ask("closed", "chain10", "--clients", 1, "--seconds", SECONDS, "--warm-up", 0)
    finally:
        strace.stop(signal.SIGINT)
    lines = trace.read_text(errors="replace").splitlines()
    # A call that another thread interrupts has two lines; its second one does not name it with a `(`.
    calls = collections.Counter(it[1] for it in map(CALLS.search, lines) if it)
    opened = sum(1 for line in lines if OPENED.search(line))
    executions, syncs = figures["ended"], sum(calls.values())
    if not executions:
        raise Failed(f"{system.name}: no execution ended under strace: {figures['first_error']}")
    verdict = "each was synced" if syncs >= executions else "NOT SYNCED"
    if opened:
        verdict = f"{opened} files opened to be synced by themselves; look at the trace"
    return {"executions": executions, "syncs": syncs, "calls": dict(calls), "verdict": verdict}


def _is_traced(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return not re.search(r"^TracerPid:\s+0$", status, re.MULTILINE)
