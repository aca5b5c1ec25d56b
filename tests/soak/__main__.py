"""`python -m tests.soak`: plays simulated days and says what they found."""

import argparse
import asyncio
import json
import logging
import math
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from app.db.engine import Database
from app.db.migrations import migrate
from tests.cluster import Cluster
from tests.soak.virtual_loop import real_seconds
from tests.soak.world import Outcome, Plan, run

_KINDS = ("sqlite", "postgresql")


def main() -> int:
    """Return 1 when a seed has found a violation."""
    options = _options()
    if options.days <= options.length:
        return _run_one(options)
    began, seed, days, failed = real_seconds(), options.seed, 0.0, 0
    while days < options.days and real_seconds() - began < options.seconds:
        database = _KINDS[seed % 2] if options.database == "both" else options.database
        given = {"--days": options.length, "--length": options.length, "--seed": seed, "--database": database}
        command = [
            sys.executable,
            "-m",
            "tests.soak",
            *(str(part) for pair in given.items() for part in pair),
        ]
        command += ["--replicas", str(options.replicas)]
        command += [] if options.calls is None else ["--calls", str(options.calls)]
        command += [f"--{name}" for name in ("calm", "verbose") if getattr(options, name)]
        # A process for each run: what a process remembers of one run must not change the next.
        failed += subprocess.run(command, check=False).returncode != 0
        days, seed = days + options.length, seed + 1
    print(f"{days:g} simulated days, {failed} seeds with violations")  # noqa: T201
    return int(failed > 0)


def _run_one(options: argparse.Namespace) -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts have another order in each process
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.soak", *sys.argv[1:]])  # noqa: S606
    logging.disable(logging.DEBUG)
    kind = _KINDS[options.seed % 2] if options.database == "both" else options.database
    plan = Plan(
        seed=options.seed,
        days=options.days,
        replicas=options.replicas,
        calls_a_day=options.calls,
        episodes=[] if options.calm else None,
    )
    with ExitStack() as stack:
        outcome = run(plan, _FRESH[kind](stack))
    _tell(outcome, kind, verbose=options.verbose)
    return int(bool(outcome.violations))


def _fresh_sqlite(stack: ExitStack) -> str:
    """Return the address of a migrated database, in memory if the machine has such a folder."""
    memory = Path("/dev/shm")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)))
    address = f"sqlite+aiosqlite:///{folder / 'soak.db'}"
    asyncio.run(_migrate(address))
    return address


def _fresh_postgres(stack: ExitStack) -> str:
    """Return the address of a migrated database on a server of its own."""
    cluster = Cluster()
    stack.callback(cluster.stop)
    asyncio.run(_migrate(cluster.url()))
    return f"{cluster.url()}?sslmode=disable"


_FRESH = {"sqlite": _fresh_sqlite, "postgresql": _fresh_postgres}


async def _migrate(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()


def _tell(outcome: Outcome, kind: str, *, verbose: bool) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(  # noqa: T201
        f"seed {outcome.seed} on {kind}: {outcome.days:.2f} days in {outcome.real_seconds:.0f} s "
        f"({outcome.processor_seconds:.0f} s of processor), "
        f"{outcome.figures['calls']} calls, {outcome.figures['lives']} lives, run {outcome.digest}, "
        f"{memory:.0f} MB at most: {'ok' if not outcome.violations else 'VIOLATED'}",
        flush=True,
    )
    if verbose:
        print(json.dumps(outcome.figures, indent=1))  # noqa: T201
    for violation in outcome.violations:
        print(f"    {violation}", flush=True)  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--days", type=float, default=1.0, help="simulated days in all")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first run; each next one has the next seed"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no run after so many of them")
    parser.add_argument("--length", type=float, default=1.0, help="days of one run")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--calls", type=float, default=None, help="calls a day; default: by the seed")
    parser.add_argument("--database", choices=(*_KINDS, "both"), default="sqlite")
    parser.add_argument("--calm", action="store_true", help="without faults")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
