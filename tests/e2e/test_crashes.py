"""What survives when things are pulled from under the service: kill -9, a database that falls over, two replicas.

The simulator knows the truth; the service is judged by what stands in its database.
"""

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db.engine import Database
from app.db.tables import call_records, calls, deliveries
from app.simulator import Faults, Simulator, SimulatorSettings, serving
from app.simulator.cast import Wishes
from app.simulator.simulator import ACCOUNT_FILTER, FAR_FUTURE
from app.simulator.subscriptions import Subscription, read_filter
from tests.cluster import Cluster, NoPostgres, free_port
from tests.e2e.process import INTAKE, TOKEN, Crowd, ServiceProcess, service_environment

SPEED = 20.0
SETTLE_SECONDS = 150.0
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


@asynccontextmanager
async def simulated(service_port: int) -> AsyncIterator[Simulator]:
    """A RingCentral that delivers to this port, and repeats what failed for longer than any start takes."""
    settings = SimulatorSettings(
        port=0,
        media_port=0,
        speed=SPEED,
        webhook_url=f"http://127.0.0.1:{service_port}{INTAKE}",
        webhook_token=TOKEN,
    )
    async with serving(settings) as simulator:
        simulator.faults = Faults(
            redelivery_delays_seconds=(5, 10, 20, 20, 40, 40, 80, 80, 160, 160),
            suspend_after_seconds=6000,
            duplicate_share=0.05,
            reorder_share=0.1,
        )
        simulator.webhooks.latest = deque(maxlen=100_000)
        yield simulator


def play(simulator: Simulator, count: int, apart_seconds: float) -> None:
    """Start calls of several kinds, one after the other, in seconds of the simulated world."""
    for place in range(count):
        wishes = Wishes(talk_seconds=20 + place % 7, ring_seconds=4)
        simulator.start_call(SCRIPTS[place % len(SCRIPTS)], wishes, delay_seconds=place * apart_seconds)


def true_sessions(simulator: Simulator) -> dict[str, set[str]]:
    """Return the record ids of every session that was played."""
    truths = [simulator.truth(call) for call in simulator.calls.values()]
    return {
        session["telephonySessionId"]: {record["id"] for record in session["records"]}
        for truth in truths
        for session in truth["sessions"]
    }


async def all_found(database: Database, simulator: Simulator) -> None:
    """Wait until every call is over and has its record, each once, and no call was invented."""
    expected = true_sessions(simulator)
    wrong: dict[str, Any] = {"nothing": "was looked at yet"}
    last_end = max(call.ended_at for call in simulator.calls.values())
    await asyncio.sleep(max(0.0, (last_end - simulator.now()).total_seconds()))
    deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
    while wrong and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.25)
        wrong = await differences(database, expected)
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


async def everything_folded(database: Database) -> None:
    unfolded = select(func.count()).select_from(deliveries).where(deliveries.c.folded_at.is_(None))
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            async with database.read() as db:
                if not await db.scalar(unfolded):
                    return
            await asyncio.sleep(0.1)


async def signed_in(simulator: Simulator) -> None:
    """Wait for the first token: whoever dies while buying one leaves the others a lease of a minute and more."""
    play(simulator, 1, apart_seconds=0)
    async with asyncio.timeout(SETTLE_SECONDS):
        while "Heavy" not in simulator.request_counts:  # noqa: ASYNC110 - the simulator has counters, no event
            await asyncio.sleep(0.05)


async def killed_again_and_again(url: str, folder: Path) -> None:
    async with simulated(port := free_port()) as simulator:
        service = ServiceProcess(service_environment(url, simulator), folder, port)
        crowd = Crowd(service.address, simulator.world.account_id)
        database = Database(url)
        try:
            await service.start()
            await signed_in(simulator)
            play(simulator, 24, apart_seconds=4)
            async with crowd.delivering():
                for seconds in (0.7, 0.4, 1.1):
                    await asyncio.sleep(seconds)
                    service.kill()
                    await asyncio.sleep(0.1)
                    await service.start()
                await asyncio.sleep(0.5)
            assert crowd.answers["none"] > 0
            assert set(crowd.answers) <= {"200", "none"}
            await assert_all_stored(database, crowd, simulator)
            await all_found(database, simulator)
            await everything_folded(database)
            assert await service.stop() == -signal.SIGTERM
        finally:
            service.kill()
            await database.close()


async def test_nothing_accepted_is_lost_when_the_service_is_killed_on_sqlite(
    sqlite_url: str, tmp_path: Path
) -> None:
    await killed_again_and_again(sqlite_url, tmp_path)


async def test_nothing_accepted_is_lost_when_the_service_is_killed_on_postgresql(
    cluster: Cluster, tmp_path: Path
) -> None:
    await killed_again_and_again(cluster.url(), tmp_path)


async def test_the_service_outlives_a_crash_of_its_database(cluster: Cluster, tmp_path: Path) -> None:
    async with simulated(port := free_port()) as simulator:
        service = ServiceProcess(service_environment(cluster.url(), simulator), tmp_path, port)
        crowd = Crowd(service.address, simulator.world.account_id)
        database = Database(cluster.url())
        try:
            await service.start()
            await signed_in(simulator)
            play(simulator, 24, apart_seconds=4)
            async with crowd.delivering():
                await asyncio.sleep(1.0)
                await asyncio.to_thread(cluster.halt, signal.SIGQUIT)
                await asyncio.sleep(0.3)
                crowd.answers.clear()
                await asyncio.sleep(1.5)
                meanwhile = dict(crowd.answers)
                await asyncio.to_thread(cluster.start)
                await asyncio.sleep(1.0)
                crowd.answers.clear()
                await asyncio.sleep(1.0)
                afterwards = dict(crowd.answers)
            assert meanwhile.keys() == {"503"}
            assert afterwards.keys() == {"200"}
            await assert_all_stored(database, crowd, simulator)
            await all_found(database, simulator)
            await everything_folded(database)
            assert await service.stop() == -signal.SIGTERM
        finally:
            service.kill()
            await database.close()


async def test_two_replicas_share_the_limit_and_find_every_call_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with simulated(port := free_port()) as simulator:
        environment = service_environment(cluster.url(), simulator)
        replicas = [ServiceProcess(environment, tmp_path, port), ServiceProcess(environment, tmp_path)]
        database = Database(cluster.url())
        try:
            await asyncio.gather(*(replica.start() for replica in replicas))
            deliver_also_to(simulator, replicas[1].address)
            play(simulator, 24, apart_seconds=4)
            await all_found(database, simulator)
            asked = simulator.statistics()
            assert asked["refused429"] == 0
            assert asked["requests"]["Heavy"]["200"] > 0
            assert [await replica.stop() for replica in replicas] == [-signal.SIGTERM] * 2
        finally:
            for replica in replicas:
                replica.kill()
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
            filters=[read_filter(ACCOUNT_FILTER, simulator.world.account_id, owner)],
            disabled=[],
            created_at=simulator.now(),
            expires_at=simulator.now() + FAR_FUTURE,
            listed=False,
        )
    )
