"""What followers cost: streams and long polls of a hundred accounts on one web process.

A change is made by a request to the same process, and each follower of its account notes when it arrives.
Ten followers are measured first, then as many as asked for, on the same process. Then a bare ASGI app sends
the same bytes to as many: what is above its figures is ours, and what is below them nobody can have on this
machine.
"""

import asyncio
import json
import re
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import asyncpg
import httpx

from app.api.keys import create_key
from app.api.known_keys import Scope
from app.calls import accounts
from app.db.engine import Database
from app.db.migrations import migrate
from app.ids import AccountId
from bench.scale.figures import Figure
from bench.scale.folding import cluster
from bench.scale.processes import cpu_seconds, server, web_process
from tests.cluster import free_port
from tests.factories_calls import seed_call

_ACCOUNTS = 100
_FEW = 10
_CONNECTS_AT_ONCE = 50
_CURSOR = re.compile(rb'"nextCursor":"([^"]+)"')
_COUNT_OTHERS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(slots=True)
class Tenant:
    """An account with a key and a call that changes."""

    account_id: AccountId
    key: str
    call_id: str
    arrivals: list[float] = field(default_factory=list)


class Stream(asyncio.Protocol):
    """A stream of server-sent events; notes when events arrive."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.is_following = asyncio.Event()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.send("/v1/changes/stream?cursor=now")

    def send(self, path: str) -> None:
        self.transport.write(
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.tenant.key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if b"\ndata: " in data:
            self.tenant.arrivals.append(time.perf_counter())
        elif b": following" in data:
            self.is_following.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


class LongPoll(Stream):
    """A client that asks again as soon as it has a response."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._read = b""
        self.send("/v1/changes?cursor=now")

    def data_received(self, data: bytes) -> None:
        self._read += data
        found = _CURSOR.search(self._read)
        if found is None or not self._read.endswith(b"}"):
            return
        if b'"data":[]' not in self._read:
            self.tenant.arrivals.append(time.perf_counter())
        self._read = b""
        self.is_following.set()
        self.send(f"/v1/changes?wait=60&cursor={found[1].decode()}")


async def prepare(database: Database) -> list[Tenant]:
    """Create the accounts, each with a key and a call."""
    tenants = []
    for number in range(_ACCOUNTS):
        account_id = AccountId(str(800_000_000 + number))
        now = datetime.now(UTC)
        async with database.write() as db:
            await accounts.add(db, account_id, now)
            scopes = [Scope.CALLS_READ, Scope.NOTES_WRITE]
            new = await create_key(db, account_id, "bench", now, scopes)
        call = await seed_call(database, account_id, now=now)
        tenants.append(Tenant(account_id, new.plain, call.call_id))
    return tenants


async def connect(port: int, tenants: Sequence[Tenant], count: int, kind: type[Stream]) -> list[Stream]:
    """Open followers, spread over all accounts, and wait until each of them follows."""
    loop = asyncio.get_running_loop()
    opened: list[Stream] = []
    for start in range(0, count, _CONNECTS_AT_ONCE):
        numbers = range(start, min(count, start + _CONNECTS_AT_ONCE))
        following = [partial(kind, tenants[number % len(tenants)]) for number in numbers]
        made = await asyncio.gather(*(loop.create_connection(one, "127.0.0.1", port) for one in following))
        batch = [protocol for _, protocol in made]
        async with asyncio.timeout(300):
            await asyncio.gather(*(one.is_following.wait() for one in batch))
        opened += batch
    return opened


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds: of the writes, and from a write's beginning to each follower; expected and arrived events."""

    writes: list[float]
    lags: list[float]
    expected: int


async def change(port: int, tenants: Sequence[Tenant], followers: Sequence[Stream], count: int) -> Round:
    """Make changes in one account after the other, and wait for them to arrive."""
    writes, lags, expected = [], [], 0
    following = {tenant.account_id: 0 for tenant in tenants}
    for one in followers:
        following[one.tenant.account_id] += 1
    watched = [tenant for tenant in tenants if following[tenant.account_id]]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for number in range(count):
            tenant = watched[number % len(watched)]
            tenant.arrivals.clear()
            began = time.perf_counter()
            response = await client.put(
                f"/v1/calls/{tenant.call_id}/disposition",
                json={"code": f"code-{number}-{time.time_ns()}"},
                headers={"Authorization": f"Bearer {tenant.key}"},
            )
            writes.append(time.perf_counter() - began)
            response.raise_for_status()
            due = following[tenant.account_id]
            deadline = began + 15
            while len(tenant.arrivals) < due and time.perf_counter() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            lags += [arrival - began for arrival in tenant.arrivals]
            expected += due
            await asyncio.sleep(0.05)
    return Round(writes, lags, expected)


async def idle_share(pid: int, seconds: float) -> float:
    """Return which share of a core a process uses while nothing happens."""
    before = cpu_seconds(pid)
    await asyncio.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process did with few followers, and with many. `cpu`: seconds of the process for each change
    that reached a follower, the write left out.
    """

    idle_few: float
    few: Round
    idle_many: float
    many: Round
    cpu: float
    connections: int
    lost: int

    @property
    def ratio(self) -> float:
        return _p99(self.many.lags) / _p99(self.few.lags)


@dataclass(frozen=True, slots=True)
class Load:
    """How many streams, and long polls; how many changes; seconds to be idle."""

    each: int
    changes: int
    idle: float


async def measure(quick: bool) -> list[Figure]:
    """Measure ten followers, then thousands of both kinds, on one web process with PostgreSQL."""
    load = Load(500, 30, 5.0) if quick else Load(5_000, 100, 20.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with cluster() as server_:
        database = Database(server_.url())
        try:
            await migrate(database)
            tenants = await prepare(database)
        finally:
            await database.close()
        with web_process(server_.url()) as (port, pid):
            ours = await _measure(port, pid, tenants, load, server_.url())
            shown = await _shown_change(port, tenants[0])
    port = free_port()
    arguments = ["-m", "uvicorn", "bench.scale.bare_followers:app", "--port", str(port), "--backlog", "4096"]
    with server([*arguments, "--log-level", "warning"], port, {"BENCH_CHANGE": shown}) as pid:
        bare = await _measure(port, pid, tenants, load)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _figures(load, ours, bare)


async def _measure(
    port: int, pid: int, tenants: Sequence[Tenant], load: Load, url: str | None = None
) -> Measured:
    few = await connect(port, tenants, _FEW, Stream)
    await asyncio.sleep(2)
    idle_few = await idle_share(pid, load.idle)
    before = cpu_seconds(pid)
    with_few = await change(port, tenants, few, load.changes)
    cpu_few = cpu_seconds(pid) - before
    many = few + await connect(port, tenants, load.each - _FEW, Stream)
    many += await connect(port, tenants, load.each, LongPoll)
    await asyncio.sleep(2)
    idle_many = await idle_share(pid, load.idle)
    connections = await _connections(url) if url is not None else 0
    before = cpu_seconds(pid)
    with_many = await change(port, tenants, many, load.changes)
    cpu = cpu_seconds(pid) - before - cpu_few
    lost = sum(one.is_lost for one in many)
    for one in many:
        one.transport.abort()
    reached = max(1, len(with_many.lags) - len(with_few.lags))
    return Measured(idle_few, with_few, idle_many, with_many, max(0.0, cpu) / reached, connections, lost)


async def _shown_change(port: int, tenant: Tenant) -> str:
    """Return a change as the feed shows it."""
    headers = {"Authorization": f"Bearer {tenant.key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        response = await client.get("/v1/changes", headers=headers)
    return json.dumps(response.json()["data"][-1], separators=(",", ":"))


def _figures(load: Load, ours: Measured, bare: Measured) -> list[Figure]:
    what = f"{load.each:,} streams and {load.each:,} long polls"
    slower = statistics.median(ours.many.writes) / statistics.median(ours.few.writes)
    missing = ours.many.expected - len(ours.many.lags)
    return [
        Figure(
            f"idle web process with {what}",
            f"{ours.idle_many:.1%} of a core",
            f"{_FEW} streams: {ours.idle_few:.1%}; bare ASGI: {bare.idle_many:.1%}",
            "flat",
            ours.idle_many - ours.idle_few <= 0.05,
        ),
        Figure(
            "a change reaches its account's followers, p99",
            f"{_p99(ours.many.lags) * 1e3:.0f} ms, x {ours.ratio:.1f}",
            f"{_FEW} streams: {_p99(ours.few.lags) * 1e3:.0f} ms",
            "x 2",
            ours.ratio <= 2,
        ),
        Figure(
            "the same from a bare ASGI app: the limit",
            f"{_p99(bare.many.lags) * 1e3:.0f} ms, x {bare.ratio:.1f}",
            f"{_FEW} streams: {_p99(bare.few.lags) * 1e3:.0f} ms",
            "",
            None,
        ),
        Figure(
            "CPU of the process for each follower of a change",
            f"{ours.cpu * 1e6:.0f} us",
            f"bare ASGI: {bare.cpu * 1e6:.0f} us",
            "",
            None,
        ),
        Figure(
            "connections refused or lost, changes missed",
            f"{ours.lost}, {missing} of {ours.many.expected:,}",
            "",
            "none",
            ours.lost == missing == 0,
        ),
        Figure(
            "database connections of the process",
            f"{ours.connections}",
            "",
            "at most 20",
            ours.connections <= 20,
        ),
        Figure(
            "a write beside them, median",
            f"{statistics.median(ours.many.writes) * 1e3:.1f} ms, x {slower:.2f}",
            f"{_FEW} streams: {statistics.median(ours.few.writes) * 1e3:.1f} ms",
            "unharmed",
            slower <= 1.5,
        ),
    ]


async def _connections(url: str) -> int:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return int(await connection.fetchval(_COUNT_OTHERS))
    finally:
        await connection.close()
