"""``python -m benchmarks``: run everything, print one table of ratios."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import (
    append_cost,
    appending,
    capturing,
    cpu,
    creating,
    flood,
    idling,
    import_cost,
    importing,
    index_cost,
    library,
    round_trip,
    starting,
    transcripts,
    turns,
)
from benchmarks.figure import Figure, table
from port42_protocol import __version__


def main() -> int:
    """Exit status 0 whatever the figures are: they are for reading, not a test."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["all", "append-cost", "cpu", "hub", "import-cost", "index-cost", "library"],
        default="all",
        help="cpu: CPU time for each call; …-cost: its parts; hub, library: minutes; all: the rest",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="PATH",
        help="cpu: a checkout with a .venv, measured in turn with this",
    )
    parser.add_argument("--calls", type=int, default=3_000, help="cpu: so many of each kind")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cpu: the kinds that have it in their name"
    )
    parser.add_argument("--quick", action="store_true", help="only see that it runs; the figures are rough")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if options.what == "append-cost":
        append_cost.show(options.calls)
        return 0
    if options.what == "import-cost":
        import_cost.show(20 if options.quick else 500)
        return 0
    if options.what == "index-cost":
        index_cost.show(50 if options.quick else 2_000)
        return 0
    if options.what == "cpu":
        cpu.show(options.calls, options.against, options.only, options.json)
        return 0
    figures = _measured(options.what, quick=options.quick)
    about = _about()
    print(table(figures))
    print(f"\n{about['python']}, {about['system']}, {about['cores']} cores, load {about['load']:.2f}")
    if options.json:
        written = {"about": about, "figures": [figure.plain() for figure in figures]}
        options.json.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    return 0


def _measured(what: str, *, quick: bool) -> list[Figure]:
    if what == "library":
        return library.figures(quick=quick)
    if what == "hub":
        # Imported here: it needs the extra hub.
        from benchmarks import hub

        return hub.measure(quick=quick)
    return _measure(quick=quick)


def _measure(*, quick: bool) -> list[Figure]:
    short, usual = transcripts.short(20 if quick else 500, 100), transcripts.usual(10 if quick else 250)
    parts = (
        lambda: cpu.figures(calls=200 if quick else 3_000),
        lambda: round_trip.measure(rounds=5 if quick else 60),
        lambda: appending.measure(rounds=2 if quick else 40),
        lambda: appending.measure_growth(messages=5_000 if quick else 100_000),
        lambda: creating.measure(sessions=200 if quick else 1_000),
        lambda: importing.measure(short),
        lambda: importing.measure_usual(usual),
        lambda: capturing.measure(short, idle_seconds=1 if quick else 10),
        lambda: capturing.measure_usual(usual),
        lambda: starting.measure(times=3 if quick else 20),
        lambda: starting.measure_daemon(times=2 if quick else 10),
        lambda: turns.measure(turns=3 if quick else 30, deltas=200 if quick else 2_000),
        lambda: turns.measure_many(streams=20 if quick else 200, seconds=1 if quick else 10),
        lambda: flood.measure(requests=5_000 if quick else 100_000),
        lambda: idling.measure(seconds=1 if quick else 10),
    )
    figures: list[Figure] = []
    for number, part in enumerate(parts, 1):
        print(f"\rmeasuring, part {number} of {len(parts)} …", end="", file=sys.stderr, flush=True)
        figures += part()
    print("\r\033[K", end="", file=sys.stderr)
    return figures


def _about() -> dict[str, Any]:
    return {
        "port42": __version__,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
