"""Retention deletes what has been kept long enough, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from app.db.engine import Database
from app.db.tables import deliveries, idempotency_keys
from app.webhooks import retention as upkeep
from app.webhooks.retention import Retention
from tests.fakes.clock import START, FakeClock


@pytest.fixture
def keeper(
    database: Database, clock: FakeClock, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Retention:
    monkeypatch.setattr(upkeep, "BATCH", 3)
    return Retention(
        database, clock, make_settings(delivery_retention_days=7, idempotency_retention_hours=24)
    )


async def receive(database: Database, uuid: str, *, is_folded: bool = True) -> None:
    async with database.write() as db:
        row = {"account_id": "1", "uuid": uuid, "received_at": START, "raw": b"{}"}
        await db.execute(deliveries.insert().values(**row, folded_at=START if is_folded else None))


async def carry_out(database: Database, key: str) -> None:
    async with database.write() as db:
        await db.execute(
            idempotency_keys.insert().values(
                account_id="1", key_id="k", key=key, request_digest="d", status=201, headers={}, body={},
                created_at=START,
            )
        )  # fmt: skip


async def count(database: Database, table: Table) -> int:
    async with database.read() as db:
        return await db.scalar(select(func.count()).select_from(table)) or 0


async def test_recent_rows_stay(database: Database, clock: FakeClock, keeper: Retention) -> None:
    await receive(database, "a")
    await carry_out(database, "b")
    clock.advance(timedelta(hours=23).total_seconds())
    assert await keeper.step() is None
    assert (await count(database, deliveries), await count(database, idempotency_keys)) == (1, 1)


async def test_old_rows_are_deleted_in_batches(
    database: Database, clock: FakeClock, keeper: Retention
) -> None:
    for number in range(7):
        await receive(database, f"d-{number}")
        await carry_out(database, f"k-{number}")
    clock.advance(timedelta(days=8).total_seconds())
    left = []
    while True:
        pause = await keeper.step()
        left.append((await count(database, deliveries), await count(database, idempotency_keys)))
        if pause is None:
            break
        assert pause == 0.0
    assert left == [(4, 4), (1, 1), (0, 0)]


async def test_unfolded_deliveries_are_never_deleted(
    database: Database, clock: FakeClock, keeper: Retention
) -> None:
    await receive(database, "a", is_folded=False)
    clock.advance(timedelta(days=800).total_seconds())
    await keeper.step()
    assert await count(database, deliveries) == 1
