"""Workers in processes of their own: a hundred accounts with one and two of them, and commits that take long.

The workers and PostgreSQL share the cores of one machine. One worker keeps more than one of them busy, with
the server's part of the work, so a second can only use what is left: that is measured in the same run.

    python -m bench.scale.workers <database address>      one worker, which folds when a line arrives
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from app import log
from app.db.engine import Database
from app.db.migrations import migrate
from app.webhooks.folding.unfolded import find_accounts
from bench import notifications
from bench.scale.figures import Figure
from bench.scale.folding import fill, fold_all
from tests.cluster import Cluster

ACCOUNTS = [str(908070001 + place) for place in range(100)]
COMMIT_SECONDS = 0.1
ARRIVALS_A_SECOND = 100
_FIRST_OF_ARRIVALS = 2 * 10**9
_READY, _DONE = b"ready\n", b"done\n"


async def measure(quick: bool) -> list[Figure]:
    """Measure both."""
    count = 3600 if quick else 14_400
    (alone, busy), (together, _) = [await _fold_in_processes(count, workers) for workers in (1, 2)]
    backlog = await _fold_while_commits_are_slow(600 if quick else 2000)
    cores = os.cpu_count() or 1
    return [
        Figure(
            "100 accounts, 1 and 2 workers, deliveries per second",
            f"{count / alone:.0f}, {count / together:.0f}: x {alone / together:.2f}",
            f"one keeps {busy:.2f} of {cores} cores busy: x {cores / busy:.2f} at most",
            ">= x 1.8",
            alone / together >= 1.8,
        ),
        Figure(
            f"{ARRIVALS_A_SECOND} deliveries a second after a burst, {1000 * COMMIT_SECONDS:.0f} ms a commit",
            f"{backlog[-1]} of {backlog[0]} wait after {len(backlog) - 1} s",
            "",
            "drains",
            backlog[-1] < ARRIVALS_A_SECOND * 3,
        ),
    ]


async def _fold_in_processes(count: int, workers: int) -> tuple[float, float]:
    """Return the seconds in which the workers fold what waits of all accounts, and how many cores of the
    machine were busy meanwhile.
    """
    server = Cluster(fsync=True)
    try:
        database = Database(server.url())
        try:
            await migrate(database)
            await fill(database, ACCOUNTS, count)
        finally:
            await database.close()
        took = await _run_together(workers, "-m", "bench.scale.workers", server.url())
        if left := await _count_waiting(server):
            raise AssertionError(f"{left} deliveries are left")
        return took
    finally:
        server.stop()


async def _run_together(count: int, *arguments: str) -> tuple[float, float]:
    """Start processes, tell them all to begin; return the seconds until the last one has done its work, and
    how many cores of the machine were busy.
    """
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(count)
    ]
    try:
        outputs = [one.stdout for one in processes if one.stdout is not None]
        for output in outputs:
            if await output.readline() != _READY:
                raise AssertionError("a process did not start")
        began, busy = time.perf_counter(), _busy_seconds()
        for one in processes:
            assert one.stdin is not None
            one.stdin.write(b"\n")
        for output in outputs:
            if (said := await output.readline()) != _DONE:
                raise AssertionError(f"a process did not end well: {said.decode()}")
        seconds = time.perf_counter() - began
        return seconds, (_busy_seconds() - busy) / seconds
    finally:
        for one in processes:
            if one.returncode is None:
                one.kill()
            await one.wait()


def _busy_seconds() -> float:
    """Return the seconds that all cores together have worked, for anybody, since the machine was started."""
    _, user, nice, system, _, _, interrupts, soft, *_ = Path("/proc/stat").read_text().split(maxsplit=9)
    ticks = sum(map(int, (user, nice, system, interrupts, soft)))
    return ticks / os.sysconf("SC_CLK_TCK")


async def _fold_while_commits_are_slow(burst: int) -> list[int]:
    """Return how many deliveries wait, each second, from the burst on."""
    delay = f"commit_delay={1_000_000 * COMMIT_SECONDS:.0f}"
    server = Cluster(fsync=True, options=(delay, "commit_siblings=0"))
    try:
        database = Database(server.url())
        try:
            await migrate(database)
            await fill(database, [notifications.ACCOUNT], burst)
            waiting = [await _count_waiting(server)]
            async with _arriving(database):
                folding = asyncio.create_task(_fold_for_ever(database))
                while len(waiting) <= 40:
                    await asyncio.sleep(1.0)
                    waiting.append(await _count_waiting(server))
                folding.cancel()
                await asyncio.gather(folding, return_exceptions=True)
            return waiting
        finally:
            await database.close()
    finally:
        server.stop()


@asynccontextmanager
async def _arriving(database: Database) -> AsyncIterator[None]:
    """Store deliveries beside the block, as many at once as arrived since the last commit."""

    async def arrive() -> None:
        began, stored = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * ARRIVALS_A_SECOND) - stored
            if due:
                await fill(database, [notifications.ACCOUNT], due, _FIRST_OF_ARRIVALS + stored)
                stored += due
            await asyncio.sleep(0.05)

    task = asyncio.create_task(arrive())
    try:
        yield
    finally:
        task.cancel()
        results = await asyncio.gather(task, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]


async def _fold_for_ever(database: Database) -> None:
    while True:
        await fold_all(database)
        await asyncio.sleep(0.05)


async def _count_waiting(server: Cluster) -> int:
    connection = await asyncpg.connect(server.dsn())
    try:
        return int(await connection.fetchval("SELECT count(*) FROM deliveries WHERE folded_at IS NULL"))
    finally:
        await connection.close()


async def _work(url: str) -> None:
    database = Database(url)
    try:
        async with database.read():
            pass
        sys.stdout.write(_READY.decode())
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        await fold_all(database)
        # What another worker has in hand is waited for: it may fail and leave it.
        while await _has_waiting(database):
            await asyncio.sleep(0.02)
            await fold_all(database)
    finally:
        await database.close()
    sys.stdout.write(_DONE.decode())


async def _has_waiting(database: Database) -> bool:
    async with database.read() as db:
        return bool(await find_accounts(db))


if __name__ == "__main__":
    log.configure("warning", "console")
    asyncio.run(_work(sys.argv[1]))
