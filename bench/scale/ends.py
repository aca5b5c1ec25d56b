"""How soon the end of a call is known and first polled for: in many accounts at once beside one alone.

The whole service runs as operators run it, on PostgreSQL, against a RingCentral on loopback. A call alone and
the burst alternate in one run. Times count from the end of the call, which is 3 s before it can be known.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import httpx
from sqlalchemy import select

from app.db.engine import Database
from app.db.lists import is_one_of
from app.db.tables import calls
from app.ids import AccountId
from bench import notifications
from bench.scale import service
from bench.scale.figures import Figure
from bench.scale.folding import cluster
from bench.scale.platform import Platform, platform, token_of
from bench.scale.processes import cpu_seconds

ACCOUNTS = int(os.environ.get("BENCH_ACCOUNTS", "100"))
"""Accounts of a burst."""

_VISIBLE_AFTER = timedelta(seconds=5)
_ROUND_SECONDS = 12.0
_LONGEST_ROUND_SECONDS = 90.0
_ALONE = 3
_PAUSE_ALONE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Seconds:
    """From the end of each call until it was known, and until the first request for it came."""

    known: list[float]
    polled: list[float]


def ending(account_id: str, call: int, at: datetime) -> tuple[str, bytes]:
    """Return the key of a call and the delivery that says that it was hung up at `at`."""
    key = f"s-a0c14f2b77d1ez{call:010d}z5e6f70000"
    text = notifications.sample().decode().replace(notifications.ACCOUNT, account_id)
    delivery = json.loads(text)
    delivery |= {"uuid": f"{account_id}-{call}", "timestamp": _time(at)}
    body = delivery["body"]
    body |= {"sessionId": str(10**12 + call), "telephonySessionId": key, "eventTime": _time(at)}
    party = body["parties"][0]
    party |= {"id": f"p{key[1:]}-2", "direction": "Inbound", "recordings": []}
    party["status"]["code"] = "Disconnected"
    return key, json.dumps(delivery).encode()


def record(key: str, call: int, at: datetime) -> dict[str, Any]:
    """Return the record that Active Calls has of that call."""
    return {
        "id": f"record-{call}",
        "sessionId": str(10**12 + call),
        "telephonySessionId": key,
        "startTime": _time(at - timedelta(seconds=2)),
        "duration": 2,
        "type": "Voice",
        "direction": "Inbound",
        "action": "Phone Call",
        "result": "Accepted",
        "to": {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": service.EXTENSION},
        "from": {"phoneNumber": "+15550179001", "name": "Dana Field"},
    }


class Rounds:
    """Ends calls, and looks up afterwards what became of them."""

    def __init__(self, database: Database, ringcentral: Platform, http: httpx.AsyncClient) -> None:
        self._database = database
        self._platform = ringcentral
        self._http = http
        self._calls = 0
        self._ended: list[tuple[AccountId, str, datetime]] = []

    async def end(self, account_ids: Sequence[AccountId]) -> None:
        """Hang up one call in each account, now."""
        at = datetime.now(UTC)
        sent = []
        for account_id in account_ids:
            self._calls += 1
            key, body = ending(account_id, self._calls, at)
            self._platform.show(account_id, record(key, self._calls, at), at + _VISIBLE_AFTER)
            self._ended.append((account_id, key, at))
            sent.append(self._http.post("/webhooks/ringcentral", content=body))
        for response in await asyncio.gather(*sent):
            response.raise_for_status()

    async def wait(self) -> None:
        """Wait until each call has been polled for, and until what follows is over as well."""
        polls, deadline = self._platform.polls, asyncio.get_running_loop().time() + _LONGEST_ROUND_SECONDS
        while not all(any(one > at for one in polls[account_id]) for account_id, _, at in self._ended):
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError("there are calls that nobody polls for")
            await asyncio.sleep(0.1)
        await asyncio.sleep(_ROUND_SECONDS)

    async def results(self) -> Seconds:
        """Return what was learnt of the calls that were ended since the last time."""
        ended, self._ended = self._ended, []
        async with self._database.read() as db:
            mine = is_one_of(calls.c.telephony_session_id, [key for _, key, _ in ended])
            query = select(calls.c.telephony_session_id, calls.c.end_known_at).where(mine)
            known = {row.telephony_session_id: row.end_known_at for row in await db.execute(query)}
        polls = self._platform.polls
        return Seconds(
            [(known[key] - at).total_seconds() for _, key, at in ended],
            [
                min((one - at).total_seconds() for one in polls[account_id] if one > at)
                for account_id, _, at in ended
            ],
        )


async def measure(quick: bool) -> list[Figure]:
    """Measure the bursts and the calls alone, in turn."""
    alone, burst = Seconds([], []), Seconds([], [])
    ids = service.account_ids(ACCOUNTS + _ALONE)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(cluster())
        ringcentral = await stack.enter_async_context(platform())
        database = Database(server.url())
        stack.push_async_callback(database.close)
        await service.fill(database, ids, ringcentral.url, [token_of(one) for one in ids])
        running = stack.enter_context(service.serving(server, ringcentral.url))
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{running.port}",
                headers={"Verification-Token": service.WEBHOOK_TOKEN},
                limits=httpx.Limits(max_connections=32),
                timeout=60,
                trust_env=False,
            )
        )
        rounds = Rounds(database, ringcentral, http)
        await rounds.end(ids)  # nobody is measured cold: tokens are loaded, statements are compiled
        await rounds.wait()
        await rounds.results()
        for _ in range(1 if quick else 3):
            for one in ids[ACCOUNTS:]:
                await rounds.end([one])
                await asyncio.sleep(_PAUSE_ALONE_SECONDS)
            await rounds.wait()
            _add(alone, await rounds.results())
            cpu = cpu_seconds(running.pid)
            await rounds.end(ids[:ACCOUNTS])
            await rounds.wait()
            cpu = cpu_seconds(running.pid) - cpu
            _add(burst, await rounds.results())
    return [
        _figure("known after", alone.known, burst.known, f", {1e3 * cpu / ACCOUNTS:.0f} ms of CPU a call"),
        _figure("first poll after", alone.polled, burst.polled, ""),
    ]


def _add(to: Seconds, more: Seconds) -> None:
    to.known.extend(more.known)
    to.polled.extend(more.polled)


def _figure(what: str, alone: Sequence[float], burst: Sequence[float], detail: str) -> Figure:
    ratio, last = median(burst) / median(alone), max(burst) / median(alone)
    return Figure(
        f"{ACCOUNTS} calls ending at once in as many accounts: {what}",
        f"p50 {median(burst):.2f} s ({ratio:.2f} of one alone), max {max(burst):.2f} s ({last:.2f}){detail}",
        f"one call alone: {median(alone):.2f} s, max {max(alone):.2f} s",
        "<= 1.1 of one alone",
        ratio <= 1.1,
    )


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
