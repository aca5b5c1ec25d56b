"""What survives when things are pulled from under the service: kill -9, a database that falls over, two
replicas.

The simulator knows the truth; the service is judged by what stands in its database.
"""

import asyncio
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db.engine import Database
from app.db.tables import call_records, calls, deliveries
from app.simulator import Faults, Simulator, SimulatorSettings
from app.simulator.platform.subscriptions import Subscription, read_filter
from app.simulator.scripting.casting import CallOptions
from app.simulator.simulator import ACCOUNT_FILTER, FAR_FUTURE
from tests.cluster import Cluster
from tests.e2e.process import INTAKE, TOKEN, Crowd, ServiceProcess, service_environment
from tests.e2e.world import LIMIT_SECONDS, World, world
from tests.postgres_binaries import NoPostgres

SETTINGS = SimulatorSettings(speed=20.0)
PATIENT = Faults(
    redelivery_delays_seconds=(5, 10, 20, 20, 40, 40, 80, 80, 160, 320, 640, 1280),
    suspend_after_seconds=60000,
    duplicate_share=0.05,
    reorder_share=0.1,
)
"""What failed is delivered again for longer than any start takes."""

SCRIPTS = (
    "inbound_direct",
    "outbound_answered",
    "inbound_missed",
    "queue_answered",
    "blind_transfer",
    "voicemail",
    "internal",
    "outbound_busy",
)
FOUND = {"bootstrapped", "reconciled", "final"}


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A PostgreSQL of its own that syncs to disk, since it will be crashed."""
    request.getfixturevalue("postgres")  # skips, or fails, where there is none
    try:
        own = Cluster(fsync=True)
    except NoPostgres as reason:
        pytest.fail(f"a second PostgreSQL did not start: {reason}")
    yield own
    own.stop()


def play(simulator: Simulator, count: int, apart_seconds: float) -> None:
    """Start calls of several kinds, one after the other, in seconds of the simulated world."""
    for place in range(count):
        wishes = CallOptions(talk_seconds=20 + place % 7, ring_seconds=4)
        simulator.start_call(SCRIPTS[place % len(SCRIPTS)], wishes, delay_seconds=place * apart_seconds)


def true_sessions(simulator: Simulator) -> dict[str, set[str]]:
    """Return the record ids of every session that was played."""
    truths = [simulator.truth(call) for call in simulator.calls]
    return {
        session["telephonySessionId"]: {record["id"] for record in session["records"]}
        for truth in truths
        for session in truth["sessions"]
    }


async def all_found(database: Database, simulator: Simulator) -> None:
    """Wait until every call is over and has its record, each once, and no call was invented."""
    expected = true_sessions(simulator)
    latest = time.monotonic() + LIMIT_SECONDS
    while (wrong := await differences(database, expected)) and time.monotonic() < latest:  # noqa: ASYNC110 - it is in the database
        await asyncio.sleep(0.25)
    assert wrong == {}


async def differences(database: Database, expected: dict[str, set[str]]) -> dict[str, Any]:
    """Return what stands in the database otherwise than it was played, by session."""
    async with database.read() as db:
        rows = (await db.execute(select(calls))).all()
        records = (await db.execute(select(call_records.c.call_id, call_records.c.record_id))).all()
    assert len(rows) == len({row.telephony_session_id for row in rows})
    shown = {row.telephony_session_id: row for row in rows}
    of_call: dict[str, set[str]] = {}
    for record in records:
        of_call.setdefault(record.call_id, set()).add(record.record_id)
    wrong: dict[str, Any] = dict.fromkeys(shown.keys() - expected.keys(), "invented")
    for name, ids in expected.items():
        row = shown.get(name)
        if row is None:
            wrong[name] = "never heard of"
        elif row.stage not in FOUND:
            wrong[name] = (row.stage, row.absent_reason)
        elif row.primary_record_id not in ids or not of_call.get(row.call_id, set()) <= ids:
            wrong[name] = ("foreign record", row.primary_record_id)
    return wrong


async def assert_all_stored(database: Database, crowd: Crowd, simulator: Simulator) -> None:
    """Hold the database to every 200 that was given, to the crowd and to the simulator."""
    told = {one["uuid"] for one in simulator.webhooks.latest if one["failure"] is None}
    async with database.read() as db:
        stored = set(await db.scalars(select(deliveries.c.uuid)))
    assert told
    assert crowd.accepted
    assert told - stored == set()
    assert crowd.accepted - stored == set()


async def everything_folded(here: World, database: Database) -> None:
    unfolded = select(func.count()).select_from(deliveries).where(deliveries.c.folded_at.is_(None))

    async def is_folded() -> bool:
        async with database.read() as db:
            return not await db.scalar(unfolded)

    await here.until(is_folded, "deliveries are not folded")


async def signed_in(here: World) -> None:
    """Wait for the first token: a process that dies while requesting one leaves a lease of over a minute."""
    play(here.simulator, 1, apart_seconds=0)

    async def has_asked() -> bool:
        return "Heavy" in here.simulator.requests.counts

    await here.until(has_asked, "nobody asks for calls")


@asynccontextmanager
async def crowded(url: str, folder: Path) -> AsyncIterator[tuple[World, Crowd]]:
    """Play calls while others deliver as well; in the end, hold the service to what it has accepted."""
    async with world(url, folder, SETTINGS, PATIENT) as here:
        here.simulator.webhooks.latest = deque(maxlen=100_000)
        crowd = Crowd(here.service.address, here.simulator.company.account_id)
        database = Database(url)
        try:
            await signed_in(here)
            play(here.simulator, 24, apart_seconds=4)
            async with crowd.delivering():
                yield here, crowd
            await assert_all_stored(database, crowd, here.simulator)
            await all_found(database, here.simulator)
            await everything_folded(here, database)
            assert await here.service.stop() == -signal.SIGTERM
        finally:
            await database.close()


async def killed_again_and_again(url: str, folder: Path) -> None:
    async with crowded(url, folder) as (here, crowd):
        for count in (120, 60, 180):
            assert await crowd.answers(count) <= {"200", "503"}, "503: the database stood still"
            here.service.kill()
            assert await crowd.answers(20) == {"none"}
            await here.service.start()
        await crowd.answers(100)


async def test_nothing_accepted_is_lost_when_the_service_is_killed_on_sqlite(
    sqlite_url: str, tmp_path: Path
) -> None:
    await killed_again_and_again(sqlite_url, tmp_path)


async def test_nothing_accepted_is_lost_when_the_service_is_killed_on_postgresql(
    cluster: Cluster, tmp_path: Path
) -> None:
    await killed_again_and_again(cluster.url(), tmp_path)


async def test_the_service_outlives_a_crash_of_its_database(cluster: Cluster, tmp_path: Path) -> None:
    async with crowded(cluster.url(), tmp_path) as (_, crowd):
        await crowd.answers(200)
        await asyncio.to_thread(cluster.halt, signal.SIGQUIT)
        assert await crowd.answers(300) == {"503"}
        await asyncio.to_thread(cluster.start)
        async with asyncio.timeout(LIMIT_SECONDS):
            while await crowd.answers(200) != {"200"}:
                pass


async def test_two_replicas_share_the_limit_and_find_every_call_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with world(cluster.url(), tmp_path, SETTINGS, PATIENT) as here:
        second = ServiceProcess(service_environment(cluster.url(), here.simulator), tmp_path)
        database = Database(cluster.url())
        try:
            await second.start()
            deliver_also_to(here.simulator, second.address)
            play(here.simulator, 24, apart_seconds=4)
            await all_found(database, here.simulator)
            asked = here.simulator.statistics()
            assert asked["refused429"] == 0
            assert asked["requests"]["Heavy"]["200"] > 0
            assert [await one.stop() for one in (here.service, second)] == [-signal.SIGTERM] * 2
        finally:
            second.kill()
            await database.close()


def deliver_also_to(simulator: Simulator, address: str) -> None:
    """Let every event reach a second replica too, under another `uuid`."""
    owner = simulator.users[simulator.settings.jwt].extension_id
    simulator.add_subscription(
        Subscription(
            id="second-replica",
            owner_id=owner,
            address=f"{address}{INTAKE}",
            token=TOKEN,
            filters=[read_filter(ACCOUNT_FILTER, simulator.company.account_id, owner)],
            disabled=[],
            created_at=simulator.now(),
            expires_at=simulator.now() + FAR_FUTURE,
            listed=False,
        )
    )
