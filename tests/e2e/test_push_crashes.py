"""Webhooks while the processes that send them are killed: what is in the feed arrives, in order per call."""

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from tests.cluster import Cluster
from tests.e2e.process import ServiceProcess, service_environment
from tests.e2e.test_crashes import PATIENT, SETTINGS, cluster, deliver_also_to, play, signed_in, true_sessions
from tests.e2e.world import World, world
from tests.fakes.receiver import Received, Receiver

__all__ = ["cluster"]

LOOPBACK = {"AFTERCALL_PUSH_ALLOW_HTTP": "true", "AFTERCALL_PUSH_ALLOW_NETWORKS": "127.0.0.0/8"}
TYPES = "call.*"
CALLS = 16
SLOW_SECONDS = 0.15
"""How long the receiver takes, so that a replica that is killed has requests under way."""


class Reluctant:
    """A receiver that is slow, and refuses every seventh message when it first comes."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.confirmed: list[Received] = []

    async def answer(self, got: Received) -> int:
        await asyncio.sleep(SLOW_SECONDS)
        is_new = got.id not in self.seen
        self.seen.add(got.id)
        if is_new and len(self.seen) % 7 == 0:
            return 503
        self.confirmed.append(got)
        return 204


async def subscribe(here: World, receiver: Receiver) -> tuple[str, str]:
    """Create an endpoint for all changes from the first on; return its id and its secret."""
    body = {"url": receiver.url, "types": [TYPES], "payload": "thin", "cursor": "0", "atOnce": 4}
    made = (await here.answered("POST", "/v1/webhook-endpoints", json=body)).json()
    return made["id"], made["secret"]


async def killed_in_turn(here: World, replicas: Sequence[ServiceProcess], handler: Reluctant) -> None:
    """Kill one replica after the other, each time while messages are under way."""
    for round_number in range(4):
        victim = replicas[round_number % len(replicas)]
        goal = len(handler.confirmed) + 8

        async def has_come(goal: int = goal) -> bool:
            return len(handler.confirmed) >= goal

        await here.until(has_come, f"only {len(handler.confirmed)} messages in round {round_number}")
        victim.kill()
        await victim.start()


async def history(here: World) -> list[dict[str, Any]]:
    """Return the changes of the feed that the endpoint is subscribed to, oldest first."""
    found: list[dict[str, Any]] = []
    cursor = "0"
    while True:
        page = await here.get("/v1/changes", cursor=cursor, types=TYPES, limit="500")
        found += page["data"]
        if not page["data"]:
            return found
        cursor = page["nextCursor"]


@asynccontextmanager
async def subscribed(url: str, folder: Path) -> AsyncIterator[tuple[World, Reluctant]]:
    """Play calls with a receiver; in the end, hold what it got to the feed."""
    handler = Reluctant()
    running = world(url, folder, SETTINGS, PATIENT, variables=LOOPBACK)
    async with Receiver(handler.answer) as receiver, running as here:
        await signed_in(here)
        endpoint, secret = await subscribe(here, receiver)
        play(here.simulator, CALLS, apart_seconds=4)
        yield here, handler
        await here.reached("reconciled", *true_sessions(here.simulator))

        async def all_confirmed() -> bool:
            shown = await here.get(f"/v1/webhook-endpoints/{endpoint}")
            latest = (await history(here))[-1]["cursor"].partition("-")[0]  # without the history's own name
            return shown["waiting"] == 0 and int(shown["cursor"]) >= int(latest)

        await here.until(all_confirmed, "messages are still waiting")
        changes = await history(here)
        assert_told(changes, handler.confirmed, secret)


def assert_told(changes: list[dict[str, Any]], confirmed: list[Received], secret: str) -> None:
    """Each change was confirmed at least once, first in the order of its call, and each message is signed."""
    for one in confirmed:
        Webhook(secret).verify(one.body, one.headers)
    assert {one.id for one in confirmed} == {change["cursor"] for change in changes}
    first: dict[str, list[str]] = defaultdict(list)
    for one in confirmed:
        of_call = first[one.change["callId"]]
        if one.id not in of_call:
            of_call.append(one.id)
    truth: dict[str, list[str]] = defaultdict(list)
    for change in changes:
        truth[change["callId"]].append(change["cursor"])
    assert first == truth
    assert len(truth) >= CALLS


async def test_a_killed_service_sends_every_change_on_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    async with subscribed(sqlite_url, tmp_path) as (here, handler):
        await killed_in_turn(here, [here.service], handler)


async def test_killed_replicas_send_every_change_on_postgresql(cluster: Cluster, tmp_path: Path) -> None:
    async with subscribed(cluster.url(), tmp_path) as (here, handler):
        second = ServiceProcess(service_environment(cluster.url(), here.simulator) | LOOPBACK, tmp_path)
        try:
            await second.start()
            deliver_also_to(here.simulator, second.address)
            await killed_in_turn(here, [here.service, second], handler)
            await here.reached("reconciled", *true_sessions(here.simulator))
            assert await second.stop() == -signal.SIGTERM
        finally:
            second.kill()
