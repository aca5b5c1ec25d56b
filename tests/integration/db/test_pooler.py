"""pgbouncer in transaction mode: each transaction may use another session of the server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from app.clock import SystemClock
from app.db.connecting import PooledConnection
from app.db.engine import Database, wake
from app.db.migrations import current_revision, head, migrate
from app.db.tables import deliveries
from app.log_repeats import Outage
from app.main import create_app
from app.settings import Settings
from app.webhooks.intake.inbox import Inbox
from app.work import wakeups
from app.work.wakeups import Wakeups
from tests.cluster import Cluster
from tests.factories import SCRIPTS
from tests.fakes.clock import FakeClock
from tests.integration.webhooks.conftest import Intake
from tests.integration.webhooks.intake.test_inbox import a_delivery
from tests.pooler import Pooler


@pytest.fixture(scope="module")
def pooler(postgres: Cluster) -> Iterator[Pooler]:
    started = Pooler(postgres)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def session_pooler(postgres: Cluster) -> Iterator[Pooler]:
    started = Pooler(postgres, "session", size=20)
    yield started
    started.stop()


@pytest.fixture
def name(postgres_url: str) -> str:
    return postgres_url.rpartition("/")[2]


@pytest.fixture
async def pooled(pooler: Pooler, name: str) -> AsyncIterator[Database]:
    opened = Database(pooler.url(name))
    yield opened
    await opened.close()


async def ask(database: Database, number: int) -> tuple[int, int]:
    async with database.read() as db:
        row = (await db.execute(text("SELECT cast(:n AS int), pg_backend_pid()"), {"n": number})).one()
    return row[0], row[1]


async def test_a_pooler_is_detected_and_statements_use_many_sessions(pooled: Database) -> None:
    answers = await asyncio.gather(*(ask(pooled, number) for number in range(200)))
    assert [number for number, _ in answers] == list(range(200))
    assert len({session for _, session in answers}) > 1
    assert pooled.connector is not None
    assert pooled.connector.pooled is True


async def test_without_a_pooler_statements_stay_prepared(postgres_database: Database) -> None:
    async with postgres_database.engine.connect() as db:
        driver: Any = (await db.get_raw_connection()).driver_connection
        await db.execute(text("SELECT 1"))
        prepared = await db.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
    assert type(driver) is not PooledConnection
    assert prepared
    assert postgres_database.connector is not None
    assert postgres_database.connector.pooled is False


async def test_shared_sessions_are_left_clean(pooled: Database) -> None:
    await asyncio.gather(*(ask(pooled, number) for number in range(50)))
    async with pooled.read() as db:
        assert await db.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
        assert await db.scalar(text("SELECT count(*) FROM pg_listening_channels()")) == 0


async def test_two_replicas_accept_deliveries(pooler: Pooler, name: str, clock: FakeClock) -> None:
    replicas = [Database(pooler.url(name)) for _ in range(2)]
    inboxes = [Inbox(replica, clock) for replica in replicas]
    for inbox in inboxes:
        inbox.start()
    for turn in range(20):
        await asyncio.gather(
            *(inboxes[n % 2].accept(a_delivery(f"{turn}-{n}")) for n in range(20)),
            *(ask(replicas[n % 2], n) for n in range(10)),
        )
    await asyncio.gather(*(inbox.prove_writable() for inbox in inboxes))
    async with replicas[0].read() as db:
        assert await db.scalar(select(func.count()).select_from(deliveries)) == 400
    for inbox in inboxes:
        await inbox.stop()
    for replica in replicas:
        await replica.close()


async def test_events_become_a_call(pooled: Database, clock: FakeClock, settings_of: Any) -> None:
    intake = Intake(pooled, clock, settings_of)
    await intake.play(next(iter(SCRIPTS.values()))())
    assert await intake.calls()


@pytest.fixture
def settings_of(make_settings: Any, pooler: Pooler, name: str) -> Settings:
    made: Settings = make_settings(database_url=pooler.url(name))
    return made


@pytest.mark.parametrize("declared", ["", "?pgbouncer=true"])
async def test_the_schema_is_migrated_through_a_pooler(
    pooled: Database, pooler: Pooler, name: str, declared: str
) -> None:
    database = Database(pooler.url(name) + declared)
    await migrate(database, "base")
    assert await current_revision(database) is None
    replicas = [Database(pooler.url(name) + declared) for _ in range(3)]
    await asyncio.gather(*(migrate(replica) for replica in replicas))
    assert await current_revision(database) == head()
    for replica in (database, *replicas):
        await replica.close()


async def woken(listening: Database, waking: Database) -> bool:
    """Whether a commit of one replica soon wakes another one."""
    topics = Wakeups()
    relaying = asyncio.create_task(wakeups.relay(listening, topics, SystemClock()))
    try:
        with topics.listen("calls") as came:
            for _ in range(100):
                async with waking.write() as db:
                    await db.execute(text("SELECT 1"))
                    wake(db, "calls")
                if await wakeups.wait(came, 0.1):
                    return True
                if relaying.done():
                    return False
        return False
    finally:
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)


async def test_wake_ups_need_the_direct_address(
    pooler: Pooler, name: str, postgres_url: str, pooled: Database
) -> None:
    direct = Database(pooler.url(name), direct_url=postgres_url)
    assert await woken(direct, pooled)
    await direct.close()


async def test_a_declared_pooler_has_no_wake_ups_and_leaves_no_listener(
    pooler: Pooler, name: str, pooled: Database
) -> None:
    declared = Database(pooler.url(name) + "?pgbouncer=true")
    assert not await woken(declared, pooled)
    async with pooled.read() as db:
        assert await db.scalar(text("SELECT count(*) FROM pg_listening_channels()")) == 0
    await declared.close()


async def test_wake_ups_that_do_not_arrive_are_noticed(
    pooled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "_ANSWER_SECONDS", 1.0)
    with pytest.raises(wakeups._NotDelivered):
        await wakeups._relay_until_lost(pooled, Wakeups(), Outage("listening"))


async def test_a_pooler_in_session_mode_passes_wake_ups_on(
    session_pooler: Pooler, name: str, pooled: Database
) -> None:
    through = Database(session_pooler.url(name))
    assert await woken(through, pooled)
    await through.close()


async def test_the_whole_service_starts_and_accepts_deliveries(settings_of: Settings) -> None:
    app = create_app(settings_of)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://aftercall.test") as client:
            for path in ("/readyz", "/readyz?for=intake"):
                ready = await client.get(path)
                assert ready.status_code == 200, ready.text
        inbox = app.state.process.intake.inbox
        await asyncio.gather(*(inbox.accept(a_delivery(f"{number}")) for number in range(30)))
