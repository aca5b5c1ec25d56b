"""What an export costs: rows per second, the memory of its process, and a page of somebody else meanwhile.

The limit in the same run reads the same pages as lists, one request after the other.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.api.keys import create_key
from app.api.known_keys import Scope
from app.db.engine import Database
from app.db.migrations import migrate
from bench.scale.figures import Figure
from bench.scale.folding import cluster
from bench.scale.processes import web_process
from tests.factories_calls import ACCOUNT
from tests.many_calls import make_calls

FEW, MANY, MANY_QUICKLY = 2_000, 100_000, 20_000
MOST_GROWTH_MB = 16.0
_PAGE = 200


@dataclass(frozen=True, slots=True)
class _Run:
    """One export: its calls per second, and how much the resident memory of the process grew at most, MB."""

    rate: float
    rows: int
    growth: float


async def measure(quick: bool) -> list[Figure]:
    """Measure one web process with PostgreSQL."""
    many = MANY_QUICKLY if quick else MANY
    figures = []
    with cluster() as server:
        key = await _prepare(server.url(), many)
        with web_process(server.url()) as (port, pid):
            async with _client(port, key) as client:
                await _export(client, pid, "ndjson", FEW)  # imports, pools, statements
                few = await _export(client, pid, "ndjson", FEW)
                listed = await _list(client, FEW * 2)
                for suffix in ("ndjson", "csv"):
                    run = await _export(client, pid, suffix, None)
                    figures.append(
                        Figure(
                            f"export of {run.rows:,} calls as {suffix}, calls per second",
                            f"{run.rate:,.0f}",
                            f"lists of {_PAGE}: {listed:,.0f}",
                            "",
                            None,
                        )
                    )
                    figures.append(
                        Figure(
                            "memory of the process meanwhile",
                            f"+ {run.growth:.1f} MB",
                            f"{FEW:,} calls: + {few.growth:.1f} MB",
                            f"at most + {MOST_GROWTH_MB:.0f} MB",
                            run.growth <= MOST_GROWTH_MB,
                        )
                    )
                figures.append(await _beside(client, pid))
    return figures


async def _prepare(url: str, calls: int) -> str:
    database = Database(url)
    try:
        await migrate(database)
        await make_calls(database, calls)
        now = datetime.now(UTC)
        async with database.write() as db:
            return (await create_key(db, ACCOUNT, "bench", now, [Scope.CALLS_READ])).plain
    finally:
        await database.close()


@asynccontextmanager
async def _client(port: int, key: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        yield client


async def _export(client: httpx.AsyncClient, pid: int, suffix: str, most: int | None) -> _Run:
    """Read an export, or its first `most` calls."""
    before = highest = _resident(pid)
    began, rows = time.perf_counter(), 0
    async with client.stream("GET", f"/v1/export/calls.{suffix}") as response:
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            rows += chunk.count(b"\n")
            highest = max(highest, _resident(pid))
            if most is not None and rows >= most:
                break
    return _Run(rows / (time.perf_counter() - began), rows, (highest - before) / 1e6)


async def _list(client: httpx.AsyncClient, most: int) -> float:
    began, rows, cursor = time.perf_counter(), 0, None
    while rows < most:
        parameters = {"order": "updatedAt", "limit": str(_PAGE)} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/calls", params=parameters)).raise_for_status().json()
        rows, cursor = rows + len(page["data"]), page["nextCursor"]
        if cursor is None:
            break
    return rows / (time.perf_counter() - began)


async def _beside(client: httpx.AsyncClient, pid: int) -> Figure:
    """Measure a page of five calls alone, and while two exports run."""
    alone = await _page_milliseconds(client)
    running = [asyncio.create_task(_export(client, pid, "ndjson", None)) for _ in range(2)]
    await asyncio.sleep(0.5)
    beside = await _page_milliseconds(client)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return Figure(
        "a page of 5 calls beside two exports, median",
        f"{beside:.1f} ms",
        f"alone: {alone:.1f} ms",
        "",
        None,
    )


async def _page_milliseconds(client: httpx.AsyncClient) -> float:
    found = []
    for _ in range(40):
        began = time.perf_counter()
        (await client.get("/v1/calls", params={"limit": 5})).raise_for_status()
        found.append((time.perf_counter() - began) * 1e3)
    return statistics.median(found)


def _resident(pid: int) -> float:
    """Return the resident memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
