"""Charts as SVG: bars of the medians, with a whisker from the least to the most of the rounds."""

import statistics
from html import escape

from . import report

WIDTH, ROW, GAP, LEFT, RIGHT, TOP = 760, 20, 14, 190, 90, 58
# Ours are blue.
OURS, PEERS = ["#2563eb", "#60a5fa", "#1e3a8a", "#93c5fd"], ["#f97316", "#16a34a", "#9333ea"]

# File, title, workloads (those that begin so), figure, and whether more is better.
CHARTS = [
    ("chain10-rate", "chain10: executions of ten steps per second", "chain10", "rate", True),
    ("chain10-p50", "chain10: median time of an execution, ms", "chain10", "p50_ms", False),
    ("chain10-p99", "chain10: p99 of the time of an execution, ms", "chain10", "p99_ms", False),
    ("chain10-cpu", "chain10: server CPU s per 1,000 steps", "chain10", "cpu_s_per_1000_steps", False),
    ("fan100", "fan100: executions of 102 steps per second", "fan100", "rate", True),
    ("payload", "payload: executions with three results of 100 KB per second", "payload", "rate", True),
    ("sleepers-late", "sleepers: p99 of how late a sleep ended, ms", "sleepers", "p99_ms", False),
    ("sleepers-memory", "sleepers: server memory for each, KB", "sleepers", "kb_each", False),
    ("restart", "kill -9: time to the first progress, ms", "restart", "first_progress_ms", False),
    ("long", "many steps in one execution: steps per second", "long", "steps_per_second", True),
    ("bucket", "bucket with latency: executions of ten steps per second", "bucket", "rate", True),
    ("cold", "every request on a fresh instance: median, ms", "cold", "p50_ms", False),
]


def write(rounds, folder):
    """Writes a chart for each that there are figures for; gives their files."""
    written = []
    for file, title, prefix, figure, more_is_better in CHARTS:
        groups = {}
        for workload in report.workloads(rounds, figure):
            if workload.startswith(prefix):
                groups[workload] = {
                    system: values
                    for system in report.systems(rounds)
                    if (values := report.of(rounds, system, workload, figure))
                }
        if groups:
            path = folder / f"{file}.svg"
            better = "more is better" if more_is_better else "less is better"
            path.write_text(bars(f"{title} ({better})", groups, report.systems(rounds)))
            written.append(path)
    return written


def bars(title, groups, systems):
    """`groups` maps a workload to its systems, and those to their values, one a round."""
    most = max(max(values) for group in groups.values() for values in group.values()) or 1
    scale = (WIDTH - LEFT - RIGHT) / most
    parts, y = [], TOP
    for workload, group in groups.items():
        middle = y + ROW * len(group) / 2
        parts.append(_text(LEFT - 10, middle + 4, workload, "end"))
        for system, values in group.items():
            parts += _bar(y, values, scale, _colour(system, systems))
            y += ROW
        y += GAP
    shown = [it for it in systems if any(it in group for group in groups.values())]
    head = [_text(12, 22, title, "start", 15), *_legend(shown, systems)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" '
        f'height="{y}" font-family="sans-serif" font-size="12" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n' + "\n".join(head + parts) + "\n</svg>\n"
    )


def _bar(y, values, scale, colour):
    median, low, high = statistics.median(values), min(values), max(values)
    middle = y + ROW / 2
    end = LEFT + max(median, high) * scale
    bar = f'<rect x="{LEFT}" y="{y + 2}" width="{median * scale:.1f}" height="{ROW - 4}" fill="{colour}"/>'
    whisker = (
        f'<path d="M{LEFT + low * scale:.1f} {middle}H{LEFT + high * scale:.1f}" '
        f'stroke="#111827" stroke-width="1.5"/>'
    )
    return [bar, whisker, _text(end + 6, middle + 4, report.number(median))]


def _colour(system, systems):
    is_ours = system.startswith(report.OURS)
    colours = OURS if is_ours else PEERS
    alike = [it for it in systems if it.startswith(report.OURS) == is_ours]
    return colours[alike.index(system) % len(colours)]


def _legend(shown, systems):
    parts, x = [], 12
    for system in shown:
        colour = _colour(system, systems)
        parts.append(f'<rect x="{x}" y="34" width="11" height="11" fill="{colour}"/>')
        parts.append(_text(x + 16, 44, system))
        x += 34 + 7 * len(system)
    return parts


def _text(x, y, text, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="#111827">{escape(text)}</text>'
