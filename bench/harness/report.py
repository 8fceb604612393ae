"""Medians over the rounds, as tables.

`rounds` is a list; each round maps a system's name to its workloads, and those to figures. The floor of
a round stands under `FLOOR`.
"""

import statistics

FLOOR = "floor"
OURS = "lazarus"
# How often a chain of ten goes to the store, one after the other, and how often over the wire: a
# start, ten steps and the end.
CHAIN_PUTS = 12


def median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def number(value, digits=0):
    """With three figures that mean something, at least."""
    if value is None:
        return ""
    if digits == 0 and abs(value) < 100:
        digits = 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def of(rounds, system, workload, *path):
    """The figure at `path` in each round that has it."""
    found = []
    for one in rounds:
        value = one.get(system, {}).get(workload)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found.append(value)
    return found


def systems(rounds):
    return list(dict.fromkeys(name for one in rounds for name in one if name != FLOOR))


def workloads(rounds, *having):
    """Those whose figures have all of `having`."""
    return list(
        dict.fromkeys(
            key
            for one in rounds
            for name, results in one.items()
            if name != FLOOR
            for key, figures in results.items()
            if all(field in figures for field in having)
        )
    )


def table(title, header, rows):
    """A table as Markdown, padded so that it reads well without a renderer too; nothing without rows."""
    if not rows:
        return ""
    rows = [header, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return f"### {title}\n\n" + "\n".join(lines) + "\n"


def main_table(rounds):
    header = ["workload", "system", "per second", "p50 ms", "p99 ms", "server CPU s per 1,000 steps"]
    header += ["peak MB", "store requests per step", "store bytes per step", "disk bytes per step"]
    header += ["errors", "load"]
    rows = []
    for workload in workloads(rounds, "rate"):
        for system in systems(rounds):

            def cell(*path, digits=0):
                return number(median(of(rounds, system, workload, *path)), digits)

            if not of(rounds, system, workload, "rate"):
                continue
            requests, stored = stored_per_step(rounds, system, workload)
            rows.append([workload, system, cell("rate"), cell("p50_ms"), cell("p99_ms")])
            rows[-1] += [cell("cpu_s_per_1000_steps", digits=3), cell("peak_mb")]
            rows[-1] += [number(requests, 2), number(stored), cell("disk_bytes_per_step")]
            errors = sum(of(rounds, system, workload, "errors"))
            rows[-1] += [str(errors), cell("machine", "load", digits=1)]
    return table("Workloads", header, rows)


def stored_per_step(rounds, system, workload):
    """Requests to the store, and bytes; none where a system has no such store."""
    found = of(rounds, system, workload, "store_per_step")
    sums = [
        median([sum(v for key, v in one.items() if key.endswith(kind)) for one in found])
        for kind in ("_requests", "_bytes")
    ]
    return sums


def ratio_table(rounds):
    """Each of ours against each peer: how many times the rate, the times, the CPU."""
    header = ["workload", "system", "against", "rate", "p50", "p99", "CPU per step", "peak memory"]
    fields = ["rate", "p50_ms", "p99_ms", "cpu_s_per_1000_steps", "peak_mb"]
    ours = [name for name in systems(rounds) if name.startswith(OURS)]
    peers = [name for name in systems(rounds) if not name.startswith(OURS)]
    rows = []
    for workload in workloads(rounds, "p50_ms"):
        for system in ours:
            for peer in peers:
                ratios = [ratio(rounds, workload, system, peer, field) for field in fields]
                if any(ratios):
                    rows.append([workload, system, peer, *ratios])
    return table("Ratios: a rate over 1 and anything else under 1 is better than the peer", header, rows)


def ratio(rounds, workload, system, peer, field):
    """The median over the rounds of the quotient within a round, where the machine was the same."""
    quotients = []
    for one in rounds:
        pair = [one.get(name, {}).get(workload, {}).get(field) for name in (system, peer)]
        if pair[0] is not None and pair[1]:
            quotients.append(pair[0] / pair[1])
    return number(median(quotients), 2)


def floor_table(rounds):
    """chain10 against what its puts and its messages alone would take."""
    header = ["workload", "system", "put ms", "gRPC ms", "puts per second", "p50, times the floor"]
    header += ["of the puts that the store takes"]
    rows = []
    for kind, puts in (("chain10", "puts"), ("bucket, chain10", "bucket puts")):
        for clients in floors(rounds, puts):
            workload = f"{kind} at {clients}"
            for system in systems(rounds):
                row = floor_row(rounds, workload, system, clients, puts)
                rows += [[workload, system, *row]] if row else []
    return table("Against the floor", header, rows)


def floors(rounds, puts):
    return list(dict.fromkeys(key for one in rounds for key in one.get(FLOOR, {}).get(puts, {})))


def floor_row(rounds, workload, system, clients, puts):
    ceiling = median(of(rounds, FLOOR, puts, clients, "rate"))
    calls = median(of(rounds, FLOOR, "gRPC", clients, "rate"))
    took = median(of(rounds, system, workload, "p50_ms"))
    rate = median(of(rounds, system, workload, "rate"))
    if None in (ceiling, took, rate):
        return None
    # Twelve in a row take twelve times the mean, and not the median: some puts are slow.
    put, echo = (int(clients) / it * 1000 if it else None for it in (ceiling, calls))
    floor = CHAIN_PUTS * (put + (echo or 0))
    share = rate * CHAIN_PUTS / ceiling
    cells = [number(put), number(echo), number(ceiling), number(took / floor, 2)]
    return [*cells, f"{share:.0%}" if system.startswith(OURS) else ""]


def other_tables(rounds):
    """The workloads that are no rates."""
    columns = {
        "sleepers": ("Sleepers", ["starting_s", "p50_ms", "p99_ms", "max_ms", "kb_each"]),
        "restart": (
            "kill -9 under load",
            ["first_progress_ms", "all_done_s", "asleep_all_done_s", "after_the_kill", "late", "errors"],
        ),
        "long": ("Many steps in one execution", ["seconds", "steps_per_second", "first_step_ms", "last_step_ms"]),
        "cold": ("Every request on a fresh instance", ["p50_ms", "p99_ms", "execution_ms", "requests_per_execution"]),
    }
    parts = []
    for prefix, (title, fields) in columns.items():
        rows = []
        for workload in workloads(rounds):
            for system in systems(rounds):
                if workload.startswith(prefix) and of(rounds, system, workload):
                    cells = [number(median(of(rounds, system, workload, it))) for it in fields]
                    rows.append([workload, system, *cells])
        header = ["workload", "system", *(field.replace("_", " ") for field in fields)]
        parts.append(table(title, header, rows))
    return parts


def everything(results):
    rounds = results["rounds"]
    made = results["made"]
    head = (
        f"{made['at']}, {made['cpu']}, {made['cores']} cores, {made['memory_gb']:.0f} GB; "
        f"{len(rounds)} rounds of {made['seconds']:g} s; load before {made['load_before']:.1f}, "
        f"highest {highest_load(rounds):.1f}; {', '.join(f'{k} {v}' for k, v in made['versions'].items())}\n"
    )
    if made["load_before"] > made["cores"] / 4:
        head += "\n**The machine had other things to do before: these figures may mean little.**\n"
    parts = [main_table(rounds), ratio_table(rounds), floor_table(rounds), *other_tables(rounds)]
    return "\n".join([head, *filter(None, [*parts, syncs_table(results.get("syncs"))])])


def highest_load(rounds):
    loads = [
        figures.get("machine", {}).get("load", 0)
        for one in rounds
        for name, results in one.items()
        if name != FLOOR
        for figures in results.values()
    ]
    return max(loads, default=0)


def syncs_table(syncs):
    header = ["system", "executions", "syncs", "syncs per execution", "calls", "verdict"]
    rows = [
        [
            name,
            str(it["executions"]),
            str(it["syncs"]),
            number(it["syncs"] / it["executions"], 2),
            ", ".join(f"{call} {count}" for call, count in it["calls"].items()),
            it["verdict"],
        ]
        for name, it in (syncs or {}).items()
    ]
    return table("Syncs, as strace saw them, one client", header, rows)
