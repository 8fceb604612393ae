#!/usr/bin/env python3
"""Builds the engine as it is released: once to be watched at its work, and again by what was seen.

The compiler puts what runs often together, and inlines that first (profile-guided optimization): a seventh
less CPU for a step, against `cargo build --release`. What it is trained on are the workloads of bench/.
Takes two builds of the release and one of bench/load, about a quarter of an hour on two cores.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRAINING = ROOT / "target" / "training"
RELEASED = ROOT / "target" / "released"
PROFILE = TRAINING / "lazarus.profdata"
# Seconds of each workload.
SECONDS = 4


class Failed(Exception):
    """What went wrong, in words for whoever runs this."""


def run(command, folder=ROOT, **more):
    """Runs a command to its end."""
    ended = subprocess.run([str(it) for it in command], cwd=folder, **more)
    if ended.returncode:
        raise Failed(f"`{' '.join(str(it) for it in command)}` failed in {folder}")
    return ended


def said(*command):
    """What a command prints."""
    return run(command, capture_output=True, text=True).stdout.strip()


def profdata():
    """The tool that sums up what was seen; it belongs to the compiler's version."""
    host = next(it for it in said("rustc", "-vV").splitlines() if it.startswith("host: ")).split()[1]
    tool = pathlib.Path(said("rustc", "--print", "sysroot")) / "lib/rustlib" / host / "bin/llvm-profdata"
    if not tool.exists():
        if not shutil.which("rustup"):
            raise Failed(f"{tool} is missing, and so is rustup: install the LLVM tools of your compiler")
        run(["rustup", "component", "add", "llvm-tools"])
    return tool


def build(target, flags):
    """Builds the release with flags of the compiler."""
    environment = os.environ | {"RUSTFLAGS": f"{os.environ.get('RUSTFLAGS', '')} {flags}".strip()}
    command = ["cargo", "build", "--release", "--locked", "--bin", "lazarus", "--target-dir", target]
    run(command, env=environment)
    return target / "release" / "lazarus"


@contextlib.contextmanager
def running(*command, **more):
    """A process that is told to end, and waited for."""
    process = subprocess.Popen([str(it) for it in command], **more)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def train(engine, load):
    """Lets the engine work, on a store that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="lazarus-training-") as home:
        serve = ["serve", "--store", f"embedded:{home}/store", "--log", "warn"]
        anywhere = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        with running(engine, *serve, *anywhere, stdout=subprocess.PIPE, text=True) as server:
            words = server.stdout.readline().split()
            if words[:2] != ["listening", "grpc"]:
                raise Failed(f"the engine did not start: {' '.join(words)}")
            asks = [load, "--engine", f"http://{words[2]}"]
            run([*asks, "define"], stdout=subprocess.DEVNULL)
            for way, workloads in (
                ("stream", [("chain10", 1), ("chain10", 64), ("chain10", 256), ("fan100", 1), ("payload", 16)]),
                ("poll", [("chain10", 64)]),
            ):
                with running(*asks, "worker", "--way", way):
                    for workload, clients in workloads:
                        print(f"  {way}, {workload}, {clients} at once", file=sys.stderr)
                        closed = ["closed", workload, "--clients", clients, "--seconds", SECONDS]
                        run([*asks, *closed], stdout=subprocess.DEVNULL)


def release():
    """Builds it; gives its path."""
    tool = profdata()
    seen = TRAINING / "seen"
    watched = build(TRAINING, f"-Cprofile-generate={seen}")
    run(["cargo", "build", "--release", "--bin", "load"], ROOT / "bench")
    shutil.rmtree(seen, ignore_errors=True)
    train(watched, ROOT / "bench" / "target" / "release" / "load")
    run([tool, "merge", "-o", PROFILE, seen])
    return build(RELEASED, f"-Cprofile-use={PROFILE}")


def main():
    """The command."""
    try:
        print(release())
    except Failed as failure:
        sys.exit(f"release: {failure}")


if __name__ == "__main__":
    main()
