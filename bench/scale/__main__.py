"""`python -m bench.scale`: prints one table of all parts; name parts to run these alone.

Each part runs what it compares within the same seconds on the same machine, so only ratios mean something.
`--quick` is faster and less exact, `--json` prints the figures for programs. A missed goal stands in the last
column and is no failure: a busy machine misses goals.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from app import log
from bench.scale import ends, exports, folding, followers, idle, lists, partitions, reading, size, workers
from bench.scale.figures import Figure

Part = Callable[[bool], Coroutine[Any, Any, list[Figure]]]
"""Measures, quickly or exactly."""

PARTS: Mapping[str, Part] = {
    "folding": folding.measure,
    "workers": workers.measure,
    "ends": ends.measure,
    "followers": followers.measure,
    "reading": reading.measure,
    "size": size.measure,
    "partitions": partitions.measure,
    "idle": idle.measure,
    "lists": lists.measure,
    "exports": exports.measure,
}


def show(figures: list[Figure]) -> Table:
    """Return the table for people."""
    table = Table("measure", "measured", "limit or peer in the same run", "goal", "")
    words = {True: "met", False: "missed", None: ""}
    for one in figures:
        table.add_row(one.measure, one.measured, one.peer, one.goal, words[one.is_met])
    return table


def main() -> None:
    """Measure the named parts, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help="the parts to measure; all by default")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    log.configure("warning", "console")
    figures: list[Figure] = []
    for name in arguments.parts or PARTS:
        figures += asyncio.run(PARTS[name](arguments.quick))
    if arguments.json:
        print(json.dumps([asdict(one) for one in figures], indent=2))
    else:
        Console(width=160).print(show(figures))


if __name__ == "__main__":
    main()
