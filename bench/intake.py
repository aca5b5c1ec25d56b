"""Durable intake, measured: our service, pgbench's single-row INSERT, and an Express handler, side by side.

`python -m bench.intake` prints a table, `--json` the same figures for programs, `--quick` takes less than a
minute. All contenders share one throwaway PostgreSQL that syncs to disk, then one folder of SQLite files in
WAL mode with synchronous=FULL. They take turns, connection count by connection count, round by round; medians
over the rounds. Only the ratios mean something: they compare what ran within the same seconds on the same
machine. The exit code is 1 when an answer was not 200 or a row is missing, whatever the speed.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import contenders, notifications
from bench.contenders import Contender, NotAvailable
from bench.generator import Measured
from tests.cluster import Cluster

CONNECTIONS = (1, 16, 64, 256)
POSTGRESQL, SQLITE = "postgresql", "sqlite"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    seconds: float
    warm_up_seconds: float
    rounds: int


FULL = Plan(seconds=2.5, warm_up_seconds=0.5, rounds=3)
QUICK = Plan(seconds=1.2, warm_up_seconds=0.4, rounds=1)


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of the table: medians over the rounds, rate in notifications per second."""

    database: str
    contender: str
    connections: int
    rate: float
    p50_ms: float | None
    p99_ms: float | None
    rates: list[float]


@dataclass(frozen=True, slots=True)
class Stored:
    """Whether what was answered 200 is in the database afterwards."""

    database: str
    contender: str
    accepted: int
    stored: int
    refused: dict[str, int]

    @property
    def is_sound(self) -> bool:
        return self.accepted == self.stored and not self.refused


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal with what was measured; `met` is None where the comparison could not be made."""

    name: str
    at_least: float | None
    below: float | None
    measured: float | None

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.below is None or self.measured < self.below
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run found."""

    cells: list[Cell]
    stored: list[Stored]
    missing: list[str]
    generator_busy: float

    def rate(self, database: str, contender: str, connections: int) -> float | None:
        cell = self.cell(database, contender, connections)
        return cell.rate if cell else None

    def cell(self, database: str, contender: str, connections: int) -> Cell | None:
        wanted = (database, contender, connections)
        found = (one for one in self.cells if (one.database, one.contender, one.connections) == wanted)
        return next(found, None)

    def ratio(self, database: str, other: str, connections: int) -> float | None:
        """Return how many times another contender's rate ours is."""
        ours, theirs = (self.rate(database, name, connections) for name in ("aftercall", other))
        return ours / theirs if ours and theirs else None

    def goals(self) -> list[Goal]:
        slowest = self.cell(POSTGRESQL, "aftercall", 256)
        return [
            Goal("of pgbench, PostgreSQL, 64 connections", 0.5, None, self.ratio(POSTGRESQL, "pgbench", 64)),
            Goal(
                "times Express, PostgreSQL, 64 connections", 4.0, None, self.ratio(POSTGRESQL, "express", 64)
            ),
            Goal("p99 in ms, PostgreSQL, 256 connections", None, 50.0, slowest.p99_ms if slowest else None),
            Goal("times Express, SQLite, 64 connections", 3.0, None, self.ratio(SQLITE, "express", 64)),
        ]

    @property
    def is_sound(self) -> bool:
        return all(one.is_sound for one in self.stored)


def run(plan: Plan, say: Callable[[str], None]) -> Report:
    """Measure everything; what cannot be had on this machine is named in `missing`."""
    measured: dict[tuple[str, str, int], list[Measured]] = {}
    stored: list[Stored] = []
    missing: list[str] = []
    with tempfile.TemporaryDirectory(prefix="aftercall-bench-") as name:
        for database, opened in ((POSTGRESQL, _on_postgresql), (SQLITE, _on_sqlite)):
            folder = Path(name) / database
            folder.mkdir()
            with opened(folder, missing) as everybody:
                _measure(database, everybody, plan, measured, say)
                stored += [_stored(database, one, measured) for one in everybody]
    busy = max((one.busy or 0.0 for rounds in measured.values() for one in rounds), default=0.0)
    return Report([_cell(*key, rounds) for key, rounds in measured.items()], stored, missing, busy)


def _measure(
    database: str,
    everybody: Sequence[Contender],
    plan: Plan,
    measured: dict[tuple[str, str, int], list[Measured]],
    say: Callable[[str], None],
) -> None:
    for turn, connections in product(range(plan.rounds), CONNECTIONS):
        # Whoever goes first meets a quieter disk: each round begins with another.
        for place in range(len(everybody)):
            contender = everybody[(place + turn) % len(everybody)]
            say(f"{database}, round {turn + 1} of {plan.rounds}: {contender.name}, {connections} connections")
            one = contender.measure(connections, plan.seconds, plan.warm_up_seconds)
            measured.setdefault((database, contender.name, connections), []).append(one)


def _cell(database: str, contender: str, connections: int, rounds: list[Measured]) -> Cell:
    p50s = [one.p50_ms for one in rounds if one.p50_ms is not None]
    p99s = [one.p99_ms for one in rounds if one.p99_ms is not None]
    return Cell(
        database,
        contender,
        connections,
        median(one.rate for one in rounds),
        median(p50s) if p50s else None,
        median(p99s) if p99s else None,
        [round(one.rate, 1) for one in rounds],
    )


def _stored(
    database: str, contender: Contender, measured: dict[tuple[str, str, int], list[Measured]]
) -> Stored:
    refused: dict[str, int] = {}
    for (where, who, _), rounds in measured.items():
        if (where, who) == (database, contender.name):
            for status, count in (item for one in rounds for item in one.refused.items()):
                refused[status] = refused.get(status, 0) + count
    return Stored(database, contender.name, contender.accepted, contender.count_stored(), refused)


@contextmanager
def _on_postgresql(folder: Path, missing: list[str]) -> Iterator[list[Contender]]:
    with ExitStack() as stack:
        cluster = Cluster(fsync=True, max_connections=320)
        stack.callback(cluster.stop)
        count = contenders.count_in_postgres(cluster)
        ours = contenders.start_ours(cluster.dsn(), folder, count)
        stack.callback(ours.stop)
        everybody: list[Contender] = [ours]
        contenders.query(
            cluster,
            "CREATE TABLE pgbench_rows (LIKE deliveries INCLUDING DEFAULTS, PRIMARY KEY (account_id, uuid))",
        )
        for start in (
            lambda: contenders.Pgbench(cluster, folder, count),
            lambda: contenders.start_express(cluster.dsn(), folder, count),
        ):
            _add(start, everybody, stack, missing)
        yield everybody


@contextmanager
def _on_sqlite(folder: Path, missing: list[str]) -> Iterator[list[Contender]]:
    ours_at, express_at = folder / "aftercall.db", folder / "express.db"
    with ExitStack() as stack:
        ours = contenders.start_ours(f"sqlite:///{ours_at}", folder, contenders.count_in_sqlite(ours_at))
        stack.callback(ours.stop)
        everybody: list[Contender] = [ours]
        count = contenders.count_in_sqlite(express_at)
        _add(
            lambda: contenders.start_express(f"sqlite:{express_at}", folder, count),
            everybody,
            stack,
            missing,
        )
        yield everybody


def _add(
    start: Callable[[], Contender], everybody: list[Contender], stack: ExitStack, missing: list[str]
) -> None:
    try:
        contender = start()
    except NotAvailable as reason:
        missing.append(str(reason))
    else:
        stack.callback(contender.stop)
        everybody.append(contender)


def as_json(report: Report, plan: Plan, seconds: float) -> dict[str, Any]:
    """Return the report for programs, in camelCase."""
    return {
        "machine": {"processors": os.cpu_count(), "platform": platform.platform()},
        "plan": _camel(asdict(plan)) | {"tookSeconds": round(seconds, 1)},
        "payloadBytes": len(notifications.sample()),
        "generatorBusiest": round(report.generator_busy, 3),
        "measurements": [_camel(asdict(cell)) for cell in report.cells],
        "ratios": [
            {"database": database, "to": other, "connections": connections, "ratio": ratio}
            for database, other in ((POSTGRESQL, "pgbench"), (POSTGRESQL, "express"), (SQLITE, "express"))
            for connections in CONNECTIONS
            if (ratio := report.ratio(database, other, connections)) is not None
        ],
        "goals": [_camel(asdict(goal)) | {"met": goal.met} for goal in report.goals()],
        "durability": [_camel(asdict(one)) | {"sound": one.is_sound} for one in report.stored],
        "missing": report.missing,
    }


def _camel(values: dict[str, Any]) -> dict[str, Any]:
    def camel(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(part.capitalize() for part in rest)

    return {camel(name): value for name, value in values.items()}


def show(report: Report, plan: Plan, seconds: float, out: Console) -> None:
    """Print the report for people."""
    table = Table(
        title=f"Durable intake of {len(notifications.sample())}-byte notifications, commits synced to disk"
    )
    for name in (
        "database",
        "connections",
        "pgbench /s",
        "Aftercall /s",
        "Express /s",
        "of pgbench",
        "x Express",
    ):
        table.add_column(name, justify="left" if name == "database" else "right")
    for name in ("p50 / p99 ms", "Express p50 / p99 ms"):
        table.add_column(name, justify="right")
    for database, connections in product((POSTGRESQL, SQLITE), CONNECTIONS):
        rates = [report.rate(database, name, connections) for name in ("pgbench", "aftercall", "express")]
        ratios = [report.ratio(database, other, connections) for other in ("pgbench", "express")]
        delays = [_delays(report.cell(database, name, connections)) for name in ("aftercall", "express")]
        figures = [_figure(rate, ",.0f") for rate in rates] + [_figure(ratio, ".2f") for ratio in ratios]
        end = connections == CONNECTIONS[-1]
        table.add_row(database, str(connections), *figures, *delays, end_section=end)
    out.print(table)
    for goal in report.goals():
        mark = {True: "[green]met[/]", False: "[red]missed[/]", None: "[yellow]not measured[/]"}[goal.met]
        wanted = f">= {goal.at_least:g}" if goal.at_least is not None else f"< {goal.below:g}"
        out.print(f"{mark}: {_figure(goal.measured, '.2f')} {goal.name} (goal {wanted})")
    for one in report.stored:
        mark = "[green]sound[/]" if one.is_sound else "[red]NOT SOUND[/]"
        refused = f", refused {one.refused}" if one.refused else ""
        out.print(
            f"{mark}: {one.contender} on {one.database}: {one.accepted:,} accepted, "
            f"{one.stored:,} stored{refused}"
        )
    for reason in report.missing:
        out.print(f"[yellow]left out[/]: {reason}")
    out.print(
        f"{plan.rounds} rounds of {plan.seconds:g} s each, medians; {seconds:.0f} s in all; "
        f"the generator was busy {report.generator_busy:.0%} of the time at most."
    )


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _delays(cell: Cell | None) -> str:
    return f"{_figure(cell.p50_ms, '.1f')} / {_figure(cell.p99_ms, '.1f')}" if cell else "-"


def main() -> int:
    """Run as a command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.intake", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    parser.add_argument("--quick", action="store_true", help="one short round")
    asked = parser.parse_args()
    plan = QUICK if asked.quick else FULL
    progress = Console(stderr=True)
    # An end from outside also unwinds, so that no process of ours is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with progress.status("starting") as status:
        started = time.monotonic()
        report = run(plan, status.update)
        seconds = time.monotonic() - started
    if asked.json:
        json.dump(as_json(report, plan, seconds), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        show(report, plan, seconds, Console())
    return 0 if report.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
