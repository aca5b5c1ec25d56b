"""`python -m bench.webhooks`: outbound webhooks of two replicas, for 1, 10 and 1,000 endpoints.

Deliveries per second are those of a backlog; the peer posts the same payloads with httpx in the same run,
without a database and without signing. The lag is measured apart, at a slow pace, from the commit of a change
to its arrival. The receiver answers at once and runs in this process. `--quick` is faster and less exact.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar

import httpx

from app import log
from app.background import watched
from app.calls import accounts
from app.clock import SystemClock
from app.db.engine import Database
from app.db.migrations import migrate
from app.ids import AccountId, new_id
from app.push.endpoints import store
from app.push.endpoints.model import Condition, Endpoint, EndpointKey, Rules
from app.push.endpoints.secrets import new_secret, seal
from app.push.loops import push_loops
from app.push.sending.address_rules import AddressRules, read_networks
from app.push.sending.client import WebhookClient
from app.settings import Settings
from app.vault import Vault
from app.work.context import WorkContext
from app.work.loops import LoopGroup
from app.work.wakeups import Wakeups, relay
from bench.scale.folding import cluster
from tests.factories_calls import seed_call

SECRET_KEY = "0123456789abcdef0123456789abcdef"
ENDPOINTS = (1, 10, 1_000)
REPLICAS = 2
HTTPX_AT_ONCE = 20
RULES = Rules(at_once=50)
ENDING = b'"telephonySessionId"'


class Receiver(asyncio.Protocol):
    """Answers each request at once, and notes when a change arrives. `/hang` is never answered, `/fail` with
    500."""

    arrivals: ClassVar[dict[bytes, list[float]]] = defaultdict(list)
    bodies: ClassVar[list[bytes]] = []
    changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            self.answer(head, rest[:size])

    def answer(self, head: bytes, body: bytes) -> None:
        if b" /hang " in head:
            return
        if b" /fail " in head:
            self.transport.write(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
            return
        _, _, after = head.lower().partition(b"webhook-id: ")
        type(self).arrivals[after.split(b"\r\n")[0]].append(time.perf_counter())
        type(self).bodies.append(body)
        type(self).changed.set()
        self.transport.write(b"HTTP/1.1 204 OK\r\n\r\n")

    @classmethod
    def count(cls) -> int:
        return len(cls.bodies)

    @classmethod
    def forget(cls) -> None:
        cls.arrivals.clear()
        cls.bodies.clear()


async def wait_for(number: int) -> None:
    """Wait until so many messages have arrived."""
    async with asyncio.timeout(300):
        while Receiver.count() < number:
            Receiver.changed.clear()
            await Receiver.changed.wait()


async def work(url: str, name: str) -> None:
    """Run the loops of webhooks, as a worker does."""
    log.configure("error", "console")
    database, clock, wakeups = Database(url), SystemClock(), Wakeups()
    database.waker = wakeups.wake
    context = WorkContext(database=database, clock=clock, replica=name, patience_seconds=0.5)
    rules = AddressRules(allows_http=True, networks=read_networks("127.0.0.0/8"))
    async with WebhookClient(rules, clock) as client:
        group = LoopGroup(wakeups, clock)
        group.watch(relay(database, wakeups, clock), "relay")
        settings = Settings(secret_key=SECRET_KEY, database_url=url)
        loops = push_loops(context, settings, Vault(SECRET_KEY), client)
        group.start(watched(context, settings, wakeups.wake, loops))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await group.stop()
    await database.close()


@asynccontextmanager
async def replicas(url: str) -> AsyncIterator[None]:
    """Run the workers as processes of their own."""
    pipe = asyncio.subprocess.PIPE
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.webhooks",
            "--worker",
            url,
            f"replica-{number}",
            stdin=pipe,
            stdout=pipe,
        )
        for number in range(REPLICAS)
    ]
    for process in started:
        assert process.stdout is not None
        await process.stdout.readline()
    try:
        yield
    finally:
        for process in started:
            process.kill()
            await process.wait()


async def add_endpoints(database: Database, account_id: AccountId, urls: Sequence[str]) -> None:
    """Store endpoints that begin at the start of the account's timeline."""
    now, sealed = SystemClock().now(), seal(Vault(SECRET_KEY), [new_secret()])
    async with database.write() as db:
        await accounts.create(db, account_id, now)
        for number, url in enumerate(urls):
            key = EndpointKey(account_id, new_id("whe", now + timedelta(milliseconds=number)))
            endpoint = Endpoint(
                key=key,
                url=url,
                rules=RULES,
                position=0,
                condition=Condition(),
                created_at=now,
                updated_at=now,
            )
            await store.insert_endpoint(db, endpoint, sealed, None)


async def measure_rate(
    database: Database, account_id: AccountId, url: str, endpoints: int, messages: int
) -> float:
    """Return the deliveries per second of a backlog."""
    Receiver.forget()
    changes = max(1, messages // endpoints)
    for _ in range(changes):
        await seed_call(database, account_id, now=SystemClock().now())
    started = time.perf_counter()
    await add_endpoints(database, account_id, [f"{url}/{number}" for number in range(endpoints)])
    await wait_for(changes * endpoints)
    return changes * endpoints / (time.perf_counter() - started)


async def measure_bare(url: str, bodies: Sequence[bytes]) -> float:
    """Return the posts per second of httpx alone."""
    Receiver.forget()
    left = list(bodies)

    async def post(client: httpx.AsyncClient) -> None:
        while left:
            await client.post(f"{url}/bare", content=left.pop(), headers={"content-type": "application/json"})

    started = time.perf_counter()
    async with httpx.AsyncClient() as client:
        await asyncio.gather(*(post(client) for _ in range(HTTPX_AT_ONCE)))
    return len(bodies) / (time.perf_counter() - started)


async def measure_lag(
    database: Database, account_id: AccountId, endpoints: int, changes: int
) -> tuple[float, float]:
    """Return the median and the 99th percentile, in ms, from a commit to each arrival of its change."""
    Receiver.forget()
    lags: list[float] = []
    for number in range(changes):
        known = set(Receiver.arrivals)
        await seed_call(database, account_id, now=SystemClock().now())
        committed = time.perf_counter()
        await wait_for((number + 1) * endpoints)
        (fresh,) = set(Receiver.arrivals) - known
        lags += [1000 * max(0.0, one - committed) for one in Receiver.arrivals[fresh]]
        await asyncio.sleep(0.02)
    cuts = statistics.quantiles(lags, n=100, method="inclusive")
    return cuts[49], cuts[98]


async def measure(quick: bool) -> list[str]:
    """Measure everything; return the rows of the tables of docs/performance.md."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    messages = 400 if quick else 5_000
    changes = 20 if quick else 100
    rows = [
        "| endpoints | deliveries/s | httpx alone/s | of httpx | lag, p50 / p99 ms |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    with cluster() as started:
        address = started.url("postgres")
        database = Database(address)
        await migrate(database)
        async with replicas(address):
            for place, endpoints in enumerate(ENDPOINTS):
                account_id = AccountId(f"90807{place:04}")
                rate = await measure_rate(database, account_id, url, endpoints, messages)
                bare = await measure_bare(url, list(Receiver.bodies))
                p50, p99 = await measure_lag(
                    database, account_id, endpoints, 3 if endpoints > 100 else changes
                )
                rates = f"{rate:,.0f} | {bare:,.0f} | {rate / bare:.2f}"
                rows.append(f"| {endpoints:,} | {rates} | {p50:,.0f} / {p99:,.0f} |")
            account_id = AccountId(f"90807{len(ENDPOINTS) - 2:04}")
            rows += ["", "| ten endpoints and | lag of the ten, p50 / p99 ms |", "| --- | ---: |"]
            before = await measure_lag(database, account_id, 10, changes)
            rows.append(f"| nothing else | {before[0]:,.0f} / {before[1]:,.0f} |")
            await add_endpoints(database, account_id, [f"{url}/hang", f"{url}/fail"])
            after = await measure_lag(database, account_id, 10, changes)
            rows.append(
                f"| one that never answers, and one that answers 500 | {after[0]:,.0f} / {after[1]:,.0f} |"
            )
        await database.close()
    server.close()
    return rows


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--worker", nargs=2, metavar=("url", "name"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    log.configure("error", "console")
    if arguments.worker:
        asyncio.run(work(*arguments.worker))
        return
    print("\n".join(asyncio.run(measure(arguments.quick))))


if __name__ == "__main__":
    main()
