"""What a worker costs while nothing happens, by the number of accounts, on PostgreSQL."""

import asyncio
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.db.engine import Database
from bench.scale import service
from bench.scale.figures import Figure
from bench.scale.platform import platform, token_of
from bench.scale.processes import cpu_seconds
from tests.cluster import Cluster

FEW, MANY = 20, 1000
_SETTLE_SECONDS = 120.0
_SETTLED_AT = 20.0
"""Statements a second below which the start is over: each connection's token is looked at once, for example.
A worker that does not come down to this within `_SETTLE_SECONDS` is measured as it is.
"""

_WINDOW_SECONDS = 5.0
_STATEMENT = re.compile(rb"LOG:  (?:statement|execute [^:]*): (?!BEGIN|COMMIT|ROLLBACK)")


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of the worker's process in percent of one core, and statements a second."""

    cpu: float
    statements: float

    def __str__(self) -> str:
        return f"{self.cpu:.1f} % of a core, {self.statements:.1f} statements/s"


async def measure(quick: bool) -> list[Figure]:
    """Measure a worker with few and one with many accounts."""
    seconds = 15.0 if quick else 60.0
    few, many = await _measure(FEW, seconds), await _measure(MANY, seconds)
    # The clock of the kernel ticks a hundred times a second: less than this cannot be told apart.
    is_flat = many.cpu <= few.cpu * 1.1 + 0.3 and many.statements <= few.statements * 1.1 + 0.5
    return [
        Figure(
            f"idle, {MANY:,} accounts",
            str(many),
            f"{FEW} accounts: {few}",
            "flat in the number of accounts",
            is_flat,
        )
    ]


async def _measure(accounts: int, seconds: float) -> Cost:
    ids = service.account_ids(accounts)
    async with AsyncExitStack() as stack:
        server: Any = Cluster(options=("log_statement=all",))
        stack.callback(server.stop)
        ringcentral = await stack.enter_async_context(platform())
        database = Database(server.url())
        try:
            await service.fill(database, ids, ringcentral.url, [token_of(one) for one in ids])
        finally:
            await database.close()
        running = stack.enter_context(service.serving(server, ringcentral.url, "worker"))
        log = server.folder / "log"
        settle_until = time.monotonic() + _SETTLE_SECONDS
        while await _statements(log, _WINDOW_SECONDS) > _SETTLED_AT and time.monotonic() < settle_until:
            pass
        cpu = cpu_seconds(running.pid)
        statements = await _statements(log, seconds)
        return Cost(100 * (cpu_seconds(running.pid) - cpu) / seconds, statements)


async def _statements(log: Path, seconds: float) -> float:
    """Return how many statements a second the server logs from now on."""
    begin = _count(log)
    await asyncio.sleep(seconds)
    return (_count(log) - begin) / seconds


def _count(log: Path) -> int:
    with log.open("rb") as written:
        return sum(1 for line in written if _STATEMENT.search(line))
