"""Partitions of deliveries on PostgreSQL: made ahead, dropped when old, and never in the way of storing."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, select, text, update

from app.calls.model import Stage
from app.calls.removal import conditions
from app.db.engine import Database
from app.db.migrations import current_revision, migrate
from app.db.tables import calls, deliveries
from app.retention import partitions
from app.retention.partitions import DAYS_AHEAD, DeliveryPartitions, name_of_partition
from app.retention.rules import retention_rules
from app.retention.upkeep import Retention
from app.webhooks.folding.fold import Folder
from app.webhooks.intake.days import day_of
from app.webhooks.intake.deliveries import Delivery, PostgresWriter
from tests.factories_calls import ACCOUNT, seed_call
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import work_context
from tests.integration.retention.conftest import run
from tests.integration.webhooks.conftest import RULES

DAY = timedelta(days=1)
KEPT = 30 * DAY
TODAY = START.date()
BEFORE_PARTITIONS = "20261129_retention_indexes"


def delivery(uuid: str, received_at: datetime, *, sent_at: datetime | None = None) -> Delivery:
    day = day_of(received_at, sent_at or received_at)
    return Delivery(ACCOUNT, uuid, received_at, "s-1", b"{}", day)


async def names(database: Database) -> list[str]:
    async with database.read() as db:
        return sorted(await db.scalars(partitions._PARTITIONS))


async def stored(database: Database) -> dict[str, str]:
    """The partition of each delivery, by uuid."""
    async with database.read() as db:
        query = select(deliveries.c.uuid, text("tableoid::regclass::text")).select_from(deliveries)
        return {row[0]: row[1] for row in await db.execute(query)}


@pytest.fixture(autouse=True)
async def no_days(postgres_database: Database) -> None:
    """Drop what earlier tests made."""
    for name in await names(postgres_database):
        if partitions.day_of_partition(name) is not None:
            async with postgres_database.write() as db:
                await db.execute(text(f"DROP TABLE {name}"))


@pytest.fixture
def parted(postgres_database: Database) -> DeliveryPartitions:
    return DeliveryPartitions(postgres_database)


async def go_back(database: Database) -> None:
    """Take the schema back to before deliveries had days."""
    while await current_revision(database) != BEFORE_PARTITIONS:
        await migrate(database, "-1")


def retention(database: Database, clock: FakeClock, make_settings: Any) -> Retention:
    return Retention(work_context(database, clock), retention_rules(make_settings()))


async def test_partitions_are_made_ahead_and_once(
    postgres_database: Database, parted: DeliveryPartitions
) -> None:
    assert await names(postgres_database) == ["deliveries_default"]
    for _ in range(2):
        await parted.keep(START, KEPT)
        assert await names(postgres_database) == [
            *(name_of_partition(TODAY + timedelta(days=ahead)) for ahead in range(DAYS_AHEAD + 1)),
            "deliveries_default",
        ]


async def test_a_delivery_that_comes_again_after_midnight_is_stored_once(
    postgres_database: Database, parted: DeliveryPartitions
) -> None:
    late = datetime(2026, 3, 10, 23, 59, 59, tzinfo=UTC)
    await parted.keep(START, KEPT)
    writer = PostgresWriter(postgres_database)
    sent = [
        delivery("a", late, sent_at=late),
        delivery("a", late + timedelta(seconds=30), sent_at=late),
        delivery("a", late + timedelta(hours=20), sent_at=late),
    ]
    assert [await writer.write([one]) for one in sent] == [1, 0, 0]
    await writer.prove(late)
    await writer.close()
    assert await stored(postgres_database) == {"a": "deliveries_20260310"}


async def test_storing_works_without_any_partition_and_the_rest_is_deleted_row_by_row(
    postgres_database: Database, clock: FakeClock, make_settings: Any
) -> None:
    writer = PostgresWriter(postgres_database)
    await writer.write([delivery(f"{number}", START) for number in range(4)])
    await writer.close()
    assert set((await stored(postgres_database)).values()) == {"deliveries_default"}
    async with postgres_database.write() as db:
        await db.execute(update(deliveries).where(deliveries.c.uuid != "0").values(folded_at=START))
    # Today has no partition: its rows are in the default one. The days after it have.
    await run(retention(postgres_database, clock, make_settings))
    assert name_of_partition(TODAY) not in await names(postgres_database)
    assert name_of_partition(TODAY + DAY) in await names(postgres_database)
    assert len(await stored(postgres_database)) == 4
    clock.advance((KEPT + DAY).total_seconds())
    await run(retention(postgres_database, clock, make_settings))
    assert list(await stored(postgres_database)) == ["0"]


async def test_a_day_is_dropped_once_all_of_it_is_old_and_folded(
    postgres_database: Database, clock: FakeClock, make_settings: Any
) -> None:
    await run(retention(postgres_database, clock, make_settings))
    writer = PostgresWriter(postgres_database)
    await writer.write([delivery("old", START), delivery("waits", START + DAY)])
    await writer.close()
    async with postgres_database.write() as db:
        await db.execute(update(deliveries).where(deliveries.c.uuid == "old").values(folded_at=START))
    clock.set(datetime(2026, 3, 12, 23, 0, tzinfo=UTC) + KEPT)
    await run(retention(postgres_database, clock, make_settings))
    assert set(await stored(postgres_database)) == {"old", "waits"}
    clock.advance(timedelta(hours=1).total_seconds())
    await run(retention(postgres_database, clock, make_settings))
    assert await stored(postgres_database) == {"waits": "deliveries_20260311"}
    clock.advance((400 * DAY).total_seconds())
    await run(retention(postgres_database, clock, make_settings))
    assert await stored(postgres_database) == {"waits": "deliveries_20260311"}
    assert "deliveries_20260312" not in await names(postgres_database)


async def test_deliveries_of_calls_that_are_held_outlast_their_day(
    postgres_database: Database, clock: FakeClock, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_be_removed(of: Any = calls) -> Any:
        return func.coalesce(of.c.result, "") != "held"

    monkeypatch.setattr(conditions, "may_be_removed", may_be_removed)
    held = await seed_call(postgres_database, stage=Stage.FINAL, result="held")
    await run(retention(postgres_database, clock, make_settings))
    writer = PostgresWriter(postgres_database)
    of_call = replace(delivery("held", START), telephony_session_id=held.telephony_session_id)
    await writer.write([of_call, delivery("other", START)])
    await writer.close()
    async with postgres_database.write() as db:
        await db.execute(update(deliveries).values(folded_at=START))
    clock.advance((KEPT + 4 * DAY).total_seconds())
    await run(retention(postgres_database, clock, make_settings))
    assert await stored(postgres_database) == {"held": "deliveries_default"}


async def test_a_reader_that_holds_the_table_delays_only_the_partitions(
    postgres_database: Database, postgres_url: str, parted: DeliveryPartitions
) -> None:
    await parted.keep(START, KEPT)
    holder = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    async with holder.transaction():
        await holder.execute("SELECT count(*) FROM deliveries")
        await parted.keep(START + 60 * DAY, KEPT)
        writer = PostgresWriter(postgres_database)
        assert await writer.write([delivery("a", START)]) == 1
        await writer.close()
    await holder.close()
    before = await names(postgres_database)
    assert name_of_partition(TODAY) in before
    async with postgres_database.write() as db:
        await db.execute(update(deliveries).values(folded_at=START))
    await parted.keep(START + 60 * DAY, KEPT)
    after = await names(postgres_database)
    assert name_of_partition(TODAY) not in after
    assert name_of_partition(TODAY + 60 * DAY) in after


async def test_an_upgrade_turns_the_table_into_a_partition_and_loses_nothing(
    postgres_database: Database, clock: FakeClock, make_settings: Any
) -> None:
    await go_back(postgres_database)
    insert = text(
        "INSERT INTO deliveries (account_id, uuid, received_at, telephony_session_id, raw)"
        " VALUES (:account, :uuid, :at, 's-1', '{}') ON CONFLICT DO NOTHING"
    )

    async def receive(uuid: str, at: datetime) -> int:
        async with postgres_database.write() as db:
            return (await db.execute(insert, {"account": ACCOUNT, "uuid": uuid, "at": at})).rowcount

    for number in range(5):
        await receive(f"{number}", START)
    await migrate(postgres_database)
    assert await names(postgres_database) == ["deliveries_before", "deliveries_default"]
    assert set((await stored(postgres_database)).values()) == {"deliveries_before"}
    # The previous release knows no day, and stores on.
    assert (await receive("5", START), await receive("5", START)) == (1, 0)
    folder = Folder(work_context(postgres_database, clock), RULES)
    while await folder.step() == 0.0:
        pass
    async with postgres_database.read() as db:
        assert await db.scalar(select(func.count()).where(deliveries.c.folded_at.is_(None))) == 0
    await run(retention(postgres_database, clock, make_settings))
    assert len(await stored(postgres_database)) == 6
    clock.advance((KEPT + DAY).total_seconds())
    await run(retention(postgres_database, clock, make_settings))
    assert await stored(postgres_database) == {}
    await run(retention(postgres_database, clock, make_settings))
    assert "deliveries_before" not in await names(postgres_database)


async def test_going_back_keeps_every_delivery(
    postgres_database: Database, parted: DeliveryPartitions
) -> None:
    await parted.keep(START, KEPT)
    writer = PostgresWriter(postgres_database)
    await writer.write([delivery("a", START), delivery("b", START + DAY), delivery("c", START - 90 * DAY)])
    await writer.close()
    await go_back(postgres_database)
    async with postgres_database.read() as db:
        assert sorted(await db.scalars(text("SELECT uuid FROM deliveries"))) == ["a", "b", "c"]
    await migrate(postgres_database)
    assert sorted(await stored(postgres_database)) == ["a", "b", "c"]


def test_a_day_of_a_name() -> None:
    assert partitions.day_of_partition(name_of_partition(date(2026, 2, 28))) == date(2026, 2, 28)
    for other in ("deliveries_before", "deliveries_default", "deliveries_20260230", "deliveries_2026"):
        assert partitions.day_of_partition(other) is None


async def test_a_partition_that_is_attached_while_a_delivery_is_stored_takes_it(
    postgres_database: Database,
) -> None:
    writer = PostgresWriter(postgres_database)
    await writer.prove(START)
    name = name_of_partition(TODAY)
    waits = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    try:
        for act in (writer.prove(START), writer.write([delivery("u-1", START)])):
            async with postgres_database.engine.begin() as db:
                await db.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
                await db.exec_driver_sql(f"CREATE TABLE {name} (LIKE deliveries INCLUDING DEFAULTS)")
                await db.exec_driver_sql(
                    f"ALTER TABLE deliveries ATTACH PARTITION {name} FOR VALUES FROM ('{TODAY}')"
                    f" TO ('{TODAY + DAY}')"
                )
                storing = asyncio.create_task(act)
                while not await db.scalar(waits):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await storing
    finally:
        await writer.close()
    assert await stored(postgres_database) == {"u-1": name}
