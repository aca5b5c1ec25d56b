"""What reading costs: one call, one call that has not changed, and a page of fifty.

The limit in the same run is FastAPI alone, which returns the same JSON from memory. All take turns.
"""

import asyncio
import json
import os
import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from app.api.keys import create_key
from app.api.known_keys import Scope
from app.calls import accounts
from app.db.engine import Database
from app.db.migrations import migrate
from app.ids import AccountId
from bench.scale.figures import Figure
from bench.scale.folding import cluster
from bench.scale.processes import server, web_process
from tests.cluster import free_port
from tests.factories_calls import seed_call

_ACCOUNT = AccountId("800000001")
_CONNECTIONS = 16
_PAGE = 50
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """A path of a server on loopback. `status`: of every response."""

    port: int
    path: str
    key: str = ""
    etag: str = ""
    status: int = 200


class _Reader(asyncio.Protocol):
    """One connection that sends the same request as soon as it has a response."""

    def __init__(self, target: Target) -> None:
        self.responses = 0
        self.is_wrong = False
        headers = [f"GET {target.path} HTTP/1.1", "Host: bench"]
        headers += [f"Authorization: Bearer {target.key}"] if target.key else []
        headers += [f"If-None-Match: {target.etag}"] if target.etag else []
        self._request = "\r\n".join([*headers, "", ""]).encode()
        self._status = f"HTTP/1.1 {target.status} ".encode()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not separator or len(body) < (int(length[1]) if length else 0):
            return
        self.is_wrong = self.is_wrong or not head.startswith(self._status)
        self._received = b""
        self.responses += 1
        self.transport.write(self._request)


async def rate(target: Target, seconds: float) -> float:
    """Return how many responses a second a target gives to sixteen connections."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Reader(target), "127.0.0.1", target.port)
        for _ in range(_CONNECTIONS)
    ]
    readers = [reader for _, reader in made]
    await asyncio.sleep(seconds / 4)
    before, began = sum(one.responses for one in readers), time.perf_counter()
    await asyncio.sleep(seconds)
    found = (sum(one.responses for one in readers) - before) / (time.perf_counter() - began)
    for one in readers:
        one.transport.abort()
    if any(one.is_wrong for one in readers):
        raise RuntimeError(f"{target.path} did not respond with {target.status}")
    return found


async def _prepare(database: Database) -> str:
    now = datetime.now(UTC)
    async with database.write() as db:
        await accounts.add(db, _ACCOUNT, now)
        new = await create_key(db, _ACCOUNT, "bench", now, [Scope.CALLS_READ])
    for number in range(200):
        record = {
            "id": f"R{number}", "sessionId": str(10**9 + number), "type": "Voice", "result": "Accepted",
            "duration": 61, "recording": {"id": f"{number}", "type": "Automatic"},
            "legs": [{"action": "Phone Call", "duration": 61, "index": one} for one in range(3)],
        }  # fmt: skip
        await seed_call(database, _ACCOUNT, now=now + timedelta(seconds=number), records=[record])
    return new.plain


async def measure(quick: bool) -> list[Figure]:
    """Measure on one web process with PostgreSQL, and FastAPI alone beside it."""
    rounds, seconds = (1, 1.5) if quick else (5, 4.0)
    with cluster() as postgres, tempfile.TemporaryDirectory() as folder:
        database = Database(postgres.url())
        try:
            await migrate(database)
            key = await _prepare(database)
        finally:
            await database.close()
        with web_process(postgres.url()) as (port, _):
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
                page = await client.get("/v1/calls")
                path = f"/v1/calls/{page.json()['data'][0]['id']}"
                call = await client.get(path)
            body = Path(folder) / "call.json"
            body.write_text(json.dumps(call.json()))
            bare_port = free_port()
            bare = [
                "-m",
                "uvicorn",
                "bench.scale.bare:app",
                "--port",
                str(bare_port),
                "--log-level",
                "warning",
            ]
            with server(bare, bare_port, {"BENCH_BODY": os.fspath(body)}):
                rates = await _rates(
                    {
                        "limit": Target(bare_port, "/to_json"),
                        "plain": Target(bare_port, "/plain"),
                        "call": Target(port, path, key),
                        "unchanged": Target(port, path, key, call.headers["etag"], 304),
                        "page": Target(port, f"/v1/calls?limit={_PAGE}", key),
                    },
                    rounds,
                    seconds,
                )
    limit = rates["limit"]
    peer = f"FastAPI alone: {limit:,.0f} with to_json, {rates['plain']:,.0f} as a dict"
    return [
        Figure(
            "GET /v1/calls/{id}, responses per second",
            f"{rates['call']:,.0f}, x {rates['call'] / limit:.2f}",
            peer,
            "x 0.35",
            rates["call"] >= 0.35 * limit,
        ),
        Figure(
            "the same with If-None-Match (304)",
            f"{rates['unchanged']:,.0f}, x {rates['unchanged'] / limit:.2f}",
            "",
            "x 0.6",
            rates["unchanged"] >= 0.6 * limit,
        ),
        Figure(
            f"GET /v1/calls, a page of {_PAGE}",
            f"{1e3 / rates['page']:.1f} ms",
            f"one call: {1e3 / rates['call']:.1f} ms",
            "",
            None,
        ),
    ]


async def _rates(targets: dict[str, Target], rounds: int, seconds: float) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(rounds):
        for name, target in targets.items():
            found[name].append(await rate(target, seconds))
    return {name: statistics.median(some) for name, some in found.items()}
