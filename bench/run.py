#!/usr/bin/env python3
"""Measures Lazarus beside its peers: the same workloads, on this machine, in interleaved rounds.

Prints medians over the rounds; writes everything that was measured, and a chart per workload, to
bench/results. Peers are installed below bench/.peers where they are missing. See bench/README.md.
"""

import argparse
import datetime
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from harness import bucket, chart, cold, floor, report, syncs, workloads
from harness.process import Failed
from harness.systems import Dbos, Lazarus, LazarusPython, Restate, dbos, lazarus, restate

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = HERE / ".peers"
RESULTS = HERE / "results"
SYSTEMS = ["stream", "poll", "python", "restate", "dbos"]
WORKLOADS = ["floor", "chain10", "fan100", "payload", "sleepers", "restart", "long", "aged", "bucket", "cold"]


@dataclass
class Programs:
    """What was built."""

    engine: pathlib.Path
    load: pathlib.Path
    restate: pathlib.Path


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    def names(known):
        def parse(text):
            chosen = [name for name in text.split(",") if name]
            unknown = [name for name in chosen if name not in known]
            if unknown:
                raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
            return chosen

        return parse

    def numbers(text):
        return [int(number) for number in text.split(",") if number]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=5, help="of each workload, after a second of warm-up")
    add("--systems", type=names(SYSTEMS), default=SYSTEMS, help=",".join(SYSTEMS))
    add("--workloads", type=names(WORKLOADS), default=WORKLOADS, help=",".join(WORKLOADS))
    add("--clients", type=numbers, default=[1, 16, 64, 256], help="of chain10")
    add("--sleepers", type=numbers, default=[2_000, 20_000])
    add("--per-second", type=int, default=4_000, help="how many sleepers are begun; 0: as fast as it goes")
    add("--asleep", type=numbers, default=[0, 10_000], help="how many sleep when the server is killed")
    add("--lease", default="30s", help="of our engine where it is killed; its default is 5m")
    add("--long", type=numbers, default=[1_000, 10_000], help="how many steps a long run has")
    add("--aged", type=numbers, default=[100_000], help="how many executions a store has seen")
    add("--engine", type=pathlib.Path, help="this binary, in place of what `make release` builds")
    add("--no-build", action="store_true", help="take the programs as they were built last")
    add("--scratch", help="where the stores of all systems are; must not be in memory")
    add("--syncs", action="store_true", help="also count the syncs of each server, with strace")
    add("--markdown", type=pathlib.Path, help="write the tables there too")
    parser.set_defaults(failures=[])
    return parser.parse_args()


def build(chosen):
    """Builds what is measured, and what measures."""
    commands = [(HERE, ["cargo", "build", "--release"])]
    if not chosen.engine:
        commands.append((ROOT, [sys.executable, "scripts/release.py"]))
    elif not os.access(chosen.engine, os.X_OK):
        raise Failed(f"--engine {chosen.engine} is no program")
    target = HERE / "target" / "release"
    engine = chosen.engine or ROOT / "target" / "released" / "release" / "lazarus"
    programs = Programs(engine.resolve(), target / "load", target / "restate-peer")
    if chosen.no_build:
        missing = [it for it in (programs.engine, programs.load, programs.restate) if not it.exists()]
        if missing:
            raise Failed(f"{missing[0]} was never built; leave out --no-build")
        return programs
    if not shutil.which("cargo"):
        raise Failed("cargo is missing; install the toolchain that Cargo.toml names under rust-version")
    for folder, command in commands:
        if subprocess.run(command, cwd=folder, stdout=sys.stderr).returncode:
            raise Failed(f"{' '.join(command)} failed in {folder}")
    return programs


def made(chosen, programs):
    """Where and of what the figures are."""
    cpu = [it for it in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if "model name" in it]
    version = [programs.engine, "--version"]
    versions = {"lazarus": subprocess.run(version, capture_output=True, text=True).stdout.split()[-1]}
    if "restate" in chosen.systems:
        versions["restate"] = restate.VERSION
    if "dbos" in chosen.systems:
        versions["dbos"] = dbos.VERSION
    return {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu[0].split(":")[1].strip() if cpu else "unknown CPU",
        "cores": os.cpu_count(),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "load_before": os.getloadavg()[0],
        "seconds": chosen.seconds,
        "versions": versions,
    }


def system_of(name, programs):
    """A system that is not started yet."""
    if name == "restate":
        return Restate(programs, restate.install(PEERS))
    if name == "dbos":
        return Dbos(*dbos.install(PEERS))
    if name == "python":
        return LazarusPython(programs, lazarus.install_sdk(PEERS))
    return Lazarus(programs, name)


def jobs_of(chosen):
    """What is measured on one start of a server, by name."""
    jobs = {}
    for clients in chosen.clients:
        jobs[f"chain10 at {clients}"] = (
            "chain10",
            lambda it, clients=clients: workloads.closed(it, chosen, "chain10", clients),
        )
    jobs["fan100 at 1"] = ("fan100", lambda it: workloads.closed(it, chosen, "fan100", 1))
    jobs["payload at 16"] = ("payload", lambda it: workloads.closed(it, chosen, "payload", 16))
    return jobs


def alone_of(chosen):
    """What is measured on a server, and a store, of its own."""
    jobs = {}
    for count in chosen.sleepers:
        run = functools.partial(workloads.sleepers, settings=chosen, count=count)
        jobs[f"sleepers {count:,}"] = ("sleepers", run)
    for steps in chosen.long:
        run = functools.partial(workloads.long, steps=steps)
        jobs[f"long, {steps:,} steps"] = ("long", run)
    for count in chosen.aged:
        run = functools.partial(workloads.aged, settings=chosen, count=count)
        jobs[f"aged, {count:,} executions"] = ("aged", run)
    for asleep in chosen.asleep:
        name = f"restart, {asleep:,} asleep" if asleep else "restart"
        jobs[name] = ("restart", lambda it, asleep=asleep: workloads.restart(it, chosen, asleep))
    return jobs


def run_jobs(system, jobs, chosen, results):
    """Runs what `system` has of `jobs`; after one that failed the others get a server of their own."""
    wanted = {
        name: run
        for name, (kind, run) in jobs.items()
        if kind in chosen.workloads and kind in system.can
    }
    while wanted:
        with tempfile.TemporaryDirectory(prefix="lazarus-bench-", dir=chosen.scratch) as home:
            job = next(iter(wanted))
            try:
                system.start(home)
                for job in list(wanted):
                    say(f"    {job}, load {os.getloadavg()[0]:.1f}")
                    results[job] = wanted[job](system)
                    del wanted[job]
                    if results[job].get("first_error"):
                        say(f"      {results[job]['errors']} errors: {results[job]['first_error']}")
            except Failed as failure:
                del wanted[job]
                chosen.failures.append(f"{system.name}, {job}: {failure}")
                say(f"      FAILED: {failure}")
                for log in sorted(pathlib.Path(home).glob("*.log")):
                    say(f"      the end of {log.name}:")
                    say("\n".join(log.read_text(errors="replace").splitlines()[-15:]))
            finally:
                system.stop()


def floor_of(programs, chosen):
    """The floor of a round: raw puts on a store like the engine's, and bare calls."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="lazarus-bench-", dir=chosen.scratch) as home:
        seconds = chosen.seconds / 2
        puts = floor.puts(programs, f"embedded:{home}/floor", chosen.clients, seconds)
        found["puts"] = {str(clients): figures for clients, figures in puts.items()}
        engine = Lazarus(programs, "stream")
        try:
            engine.start(home)
            found["gRPC"] = {
                str(clients): floor.echo(engine, clients, seconds) for clients in chosen.clients
            }
        finally:
            engine.stop()
    return found


def bucket_of(programs, chosen, results):
    """chain10 on a bucket, and the floor there. Peers have no such store."""
    with tempfile.TemporaryDirectory(prefix="lazarus-bench-", dir=chosen.scratch) as home:
        with bucket.Bucket(home) as server:
            puts = bucket.puts(programs, server, chosen.seconds / 2)
            found = results.setdefault(report.FLOOR, {})
            found["bucket puts"] = {str(clients): figures for clients, figures in puts.items()}
            engine = Lazarus(programs, "stream", server.url, bucket.FLAGS, server.variables)
            jobs = {}
            for clients in bucket.CLIENTS:
                run = functools.partial(
                    workloads.closed, settings=chosen, workload="chain10", clients=clients
                )
                jobs[f"bucket, chain10 at {clients}"] = ("bucket", run)
            run_jobs(engine, jobs, chosen, results.setdefault(engine.name, {}))


def syncs_of(programs, chosen):
    """Whether each server syncs, by its name."""
    found = {}
    for name in chosen.systems:
        system = system_of(name, programs)
        say(f"syncs of {system.name}")
        with tempfile.TemporaryDirectory(prefix="lazarus-bench-", dir=chosen.scratch) as home:
            try:
                system.start(home)
                found[system.name] = syncs.watch(system, home)
            finally:
                system.stop()
    return found


def require_disk(chosen):
    """Refuses a scratch folder in memory, where syncs cost nothing."""
    folder = pathlib.Path(chosen.scratch or tempfile.gettempdir()).resolve()
    if not folder.is_dir():
        raise Failed(f"--scratch {folder} is no folder")
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    kinds = {pathlib.Path(mount[1]): mount[2] for mount in mounts}
    kind = next(kinds[it] for it in (folder, *folder.parents) if it in kinds)
    if kind in ("tmpfs", "ramfs"):
        raise Failed(f"{folder} is in memory ({kind}), where syncs cost nothing: name another with --scratch")


def measure(programs, chosen, rounds):
    for number in range(chosen.rounds):
        results = {}
        rounds.append(results)
        say(f"round {number + 1} of {chosen.rounds}")
        if "floor" in chosen.workloads:
            say("  floor")
            results[report.FLOOR] = floor_of(programs, chosen)
        # Each round begins with another system, so that none is always first.
        turn = number % len(chosen.systems)
        for name in chosen.systems[turn:] + chosen.systems[:turn]:
            system = system_of(name, programs)
            say(f"  {system.name}")
            of_system = results.setdefault(system.name, {})
            run_jobs(system, jobs_of(chosen), chosen, of_system)
            for job, (kind, run) in alone_of(chosen).items():
                system = system_of(name, programs)
                if kind == "restart":
                    system.expect_deaths(chosen.lease)
                run_jobs(system, {job: (kind, run)}, chosen, of_system)
        if "bucket" in chosen.workloads and "stream" in chosen.systems:
            say("  a bucket with latency")
            bucket_of(programs, chosen, results)
        if "cold" in chosen.workloads and "stream" in chosen.systems:
            say("  cold")
            with tempfile.TemporaryDirectory(prefix="lazarus-bench-", dir=chosen.scratch) as home:
                of_system = results.setdefault("lazarus, function", {})
                of_system["cold, chain10 at 1"] = cold.measure(programs, home)


def main():
    # Whoever is terminated stops what it started, as one who is interrupted does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = arguments()
    require_disk(chosen)
    programs = build(chosen)
    for name in chosen.systems:
        system_of(name, programs)  # installs what is missing, before anything is measured
    results = {"made": made(chosen, programs), "rounds": [], "failures": chosen.failures}
    try:
        measure(programs, chosen, results["rounds"])
        if chosen.syncs:
            results["syncs"] = syncs_of(programs, chosen)
    finally:
        # Also of a run that was interrupted: it may have taken hours.
        tell(results, chosen)
    if chosen.failures:
        raise Failed("\n".join(["not everything could be measured:", *chosen.failures]))


def tell(results, chosen):
    """Writes and prints what there is."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1)
    stamp = results["made"]["at"].replace(":", "").split("+")[0]
    for file in (f"{stamp}.json", "latest.json"):
        (RESULTS / file).write_text(text)
    chart.write(results["rounds"], RESULTS)
    tables = report.everything(results)
    if chosen.markdown:
        chosen.markdown.write_text(tables)
    print(tables)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
