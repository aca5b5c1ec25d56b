"""Restore drills with the commands of docs/backup.md, on real databases: what a service finds afterwards."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text

from app.api import keys
from app.api.dependencies import Services
from app.calls import accounts
from app.db.engine import Database
from app.db.migrations import migrate
from app.db.tables import calls, sweeps
from app.enrichment.polling import targets
from app.enrichment.sweeps.state import SweepRules
from app.enrichment.sweeps.sweeper import Sweeper
from app.ids import UNBOUND_ACCOUNT
from app.ringcentral.ports import Priority
from app.webhooks.intake.refusals import Refusals
from app.webhooks.subscriptions.heartbeat import Heartbeat, IntakeHealth
from app.work.wakeups import Wakeups
from tests.backups import (
    BASE,
    DUMP,
    RECOVERY,
    RESTORE,
    PostgresBackups,
    back_up_sqlite,
    recover_until,
    restore_sqlite,
)
from tests.cluster import Cluster
from tests.conftest import answer_to, build_app, open_client
from tests.factories_calls import ACCOUNT, raw_record, seed_call
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import accounts_context
from tests.fakes.desk import PLAN, Desk, shared_rates

RULES = SweepRules(
    interval=900.0, lookback=10_800.0, overlap=1200.0, grace=60.0, margin=60.0, first_after=60.0,
    second_after=600.0, spacing=12.0, lease=15.0, longest=240.0,
)  # fmt: skip
ROOT = Path(__file__).parents[3]
SOON, LATER = timedelta(seconds=10), timedelta(minutes=20)


async def _prove() -> None:
    """A delivery can be stored."""


class Drill:
    """A service on one database at a time: before the backup, after it, and on what was restored."""

    def __init__(self, make_settings: Any, clock: FakeClock) -> None:
        self._credentials = {"rc_client_id": "id", "rc_client_secret": "secret", "rc_jwt": "jwt"}
        self._make_settings = make_settings
        self.clock = clock
        self.key = ""
        self.cursors: dict[str, str] = {}

    def start(self, url: str, replica: str) -> None:
        """Start a process on this database."""
        settings = self._make_settings(database_url=url, **self._credentials)
        self.database = Database(url)
        self.desk = Desk(self.database, self.clock, settings)
        context = accounts_context(self.database, self.clock, self.desk.connections, replica=replica)
        health = IntakeHealth(prove=_prove, refusals=Refusals(self.clock.now), take_refused=dict)
        self.heartbeat = Heartbeat(context, health, interval_seconds=10.0, sweep_after_seconds=60.0)
        self.sweeper = Sweeper(context, PLAN, RULES)
        wakeups = Wakeups()
        self.database.waker = wakeups.wake
        services = Services(settings=settings, database=self.database, wakeups=wakeups, clock=self.clock)
        self.app = build_app(services)

    async def kill(self) -> None:
        """End the process without an orderly stop."""
        await self.database.close()

    async def prepare(self) -> None:
        """What is there at the backup: a call, a beat, a claimed target and a used rate bucket."""
        async with self.database.write() as db:
            await accounts.open_unbound(db, self.clock.now())
            await accounts.bind(db, ACCOUNT, self.clock.now())
            self.key = (await keys.create_key(db, UNBOUND_ACCOUNT, "drill", self.clock.now())).plain
            await targets.claim(db, ACCOUNT, targets.ACCOUNT, "before", self.clock.now(), 60.0)
        await seed_call(self.database, telephony_session_id="s-kept")
        rates = shared_rates(self.database, self.clock, limit=1)
        await rates.acquire("heavy", Priority.POLL, None)
        await self.heartbeat.step()
        self.cursors["kept"] = await self.last_cursor()

    async def lose(self) -> None:
        """What comes after the backup."""
        self.clock.advance(SOON.total_seconds())
        await self.heartbeat.step()
        await seed_call(self.database, telephony_session_id="s-lost")
        self.cursors["lost"] = await self.last_cursor()

    async def last_cursor(self) -> str:
        async with open_client(self.app, self.key) as client:
            cursor: str = (await client.get("/v1/changes")).json()["nextCursor"]
        return cursor

    async def sessions(self) -> set[str]:
        async with self.database.read() as db:
            return set(await db.scalars(select(calls.c.telephony_session_id)))

    async def check(self, begin: datetime) -> None:
        """The restored service: a gap since the backup, swept; followers told; nothing held by the past."""
        assert await self.sessions() == {"s-kept"}
        await self.heartbeat.step()
        async with self.database.read() as db:
            query = select(sweeps.c.reason, sweeps.c.from_at, sweeps.c.to_at)
            gaps = [tuple(row) for row in await db.execute(query)]
        assert gaps == [("service-down", begin, self.clock.now())]
        async with self.database.write() as db:
            assert await targets.claim(db, ACCOUNT, targets.ACCOUNT, "after", self.clock.now(), 60.0)
        await shared_rates(self.database, self.clock, limit=1).acquire(
            "heavy", Priority.POLL, self.clock.now()
        )
        await self._check_followers()
        await self._check_sweep(begin)

    async def _check_followers(self) -> None:
        async with open_client(self.app, self.key) as client:
            lost = await client.get("/v1/changes", params={"cursor": self.cursors["lost"]})
            assert lost.status_code == 410, lost.text
            assert lost.json()["type"] == "/problems/history-changed"
            again = await client.get("/v1/changes", params={"cursor": lost.json()["startFrom"]})
            assert [change["seq"] for change in again.json()["data"]] == [1]
            kept = await client.get("/v1/changes", params={"cursor": self.cursors["kept"]})
            assert (kept.status_code, kept.json()["data"]) == (200, [])

    async def _check_sweep(self, begin: datetime) -> None:
        row = {"telephonySessionId": "s-lost", "sessionId": "1099", "duration": 5}
        started = (begin + SOON / 2).isoformat()
        self.desk.ringcentral.log = [raw_record("rec-99", startTime=started, **row)]
        for _ in range(40):
            await self.sweeper.step()
            self.clock.advance(30)
        assert await self.sessions() == {"s-kept", "s-lost"}


@pytest.fixture
def drill(make_settings: Any, clock: FakeClock) -> Drill:
    return Drill(make_settings, clock)


async def test_a_dump_is_restored_into_another_database(
    drill: Drill, postgres: Cluster, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    backups, file = PostgresBackups(postgres), postgres.folder / f"{name}.dump"
    drill.start(postgres_url, "before")
    await drill.prepare()
    backups.dump(name, file)
    await drill.lose()
    await drill.kill()
    backups.restore(file, f"{name}_restored")
    drill.clock.advance(LATER.total_seconds())
    drill.start(postgres.url(f"{name}_restored"), "after")
    await drill.check(START)
    await drill.kill()


async def test_a_copy_of_sqlite_made_beside_writers_is_restored(
    drill: Drill, sqlite_url: str, tmp_path: Path
) -> None:
    file, copy = tmp_path / "aftercall.db", tmp_path / "copy.db"
    drill.start(sqlite_url, "before")
    await drill.prepare()
    back_up_sqlite(file, copy)
    await drill.lose()
    await drill.kill()
    restore_sqlite(copy, file)
    drill.clock.advance(LATER.total_seconds())
    drill.start(sqlite_url, "after")
    await drill.check(START)
    await drill.kill()


@pytest.fixture
def archiving(postgres: Cluster) -> Iterator[Cluster]:
    """A server that archives its WAL."""
    # Depends on `postgres`: where that cannot run, this one cannot either.
    archive = "archive_command=test ! -f ../archive/%f && cp %p ../archive/%f"
    cluster = Cluster(options=("wal_level=replica", "archive_mode=on", archive), folders=("archive",))
    yield cluster
    cluster.stop()


async def promoted(cluster: Cluster) -> None:
    """Wait for the end of the replay: until then the server answers, but accepts no writes."""
    connection = await asyncpg.connect(cluster.dsn())

    async def is_promoted() -> bool | None:
        return await connection.fetchval("SELECT pg_is_in_recovery()") is False or None

    try:
        await answer_to(is_promoted)
    finally:
        await connection.close()


async def test_a_base_backup_is_replayed_until_a_moment(drill: Drill, archiving: Cluster) -> None:
    url = archiving.url("postgres")
    drill.start(url, "before")
    await migrate(drill.database)
    base = archiving.folder / "base"
    PostgresBackups(archiving).base(base)
    await drill.prepare()
    async with drill.database.read() as db:
        moment = await db.scalar(text("SELECT clock_timestamp()::text"))
    await drill.lose()
    await drill.kill()
    recover_until(archiving, base, archiving.folder / "archive", moment)
    await promoted(archiving)
    drill.clock.advance(LATER.total_seconds())
    drill.start(url, "after")
    await drill.check(START)
    await drill.kill()


def test_the_page_shows_the_commands_that_the_drills_run() -> None:
    page = (ROOT / "docs/backup.md").read_text()
    for command in (DUMP, RESTORE, BASE):
        assert " ".join(command) in page
    for setting in RECOVERY:
        assert setting in page
    assert "wal_level = replica" in page
    assert "archive_mode = on" in page
