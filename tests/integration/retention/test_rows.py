"""Deliveries, remembered requests and what waits in vain are removed by their age, in bounded batches."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from app.audit import COMMAND, AuditAction, record
from app.db.engine import Database
from app.db.tables import audit_entries, deliveries, idempotency_keys, insights, sentiments
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START, FakeClock
from tests.integration.retention.conftest import Keeper, run


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


@pytest.fixture
def removes(keeper: Keeper) -> Any:
    return keeper(retention_deliveries_days=7, retention_requests_days=1)


async def test_recent_rows_stay(database: Database, clock: FakeClock, removes: Any) -> None:
    await receive(database, "a")
    await carry_out(database, "b")
    clock.advance(timedelta(hours=23).total_seconds())
    assert await run(removes) == 1
    assert (await count(database, deliveries), await count(database, idempotency_keys)) == (1, 1)


async def test_old_rows_are_removed_in_batches(database: Database, clock: FakeClock, removes: Any) -> None:
    for number in range(7):
        await receive(database, f"d-{number}")
        await carry_out(database, f"k-{number}")
    clock.advance(timedelta(days=8).total_seconds())
    left = []
    while True:
        pause = await removes.step()
        left.append((await count(database, deliveries), await count(database, idempotency_keys)))
        if pause is None:
            break
        assert 0 < pause < 1
    assert left == [(4, 4), (1, 1), (0, 0)]


async def test_deliveries_that_wait_are_never_removed(
    database: Database, clock: FakeClock, removes: Any
) -> None:
    await receive(database, "a", is_folded=False)
    clock.advance(timedelta(days=800).total_seconds())
    await run(removes)
    assert await count(database, deliveries) == 1


async def test_raw_deliveries_are_not_kept_for_longer_than_calls(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    await receive(database, "a")
    clock.advance(timedelta(days=8).total_seconds())
    await run(keeper(retention_deliveries_days=30, retention_calls_days=7))
    assert await count(database, deliveries) == 0


async def test_what_waits_for_a_call_that_never_comes_goes_when_the_call_would(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    async with database.write() as db:
        for source in ("old", "new"):
            at = START if source == "old" else START + timedelta(days=5)
            common = {"account_id": ACCOUNT, "parked": True, "version": 1, "created_at": at, "updated_at": at}
            await db.execute(
                sentiments.insert().values(
                    subject="1229016182016", source=source, label="positive", scope={}, **common
                )
            )
            await db.execute(
                insights.insert().values(
                    account_id=ACCOUNT, source_id=source, source="webhook", fetched_at=at, raw={}
                )
            )
    clock.advance(timedelta(days=8).total_seconds())
    await run(keeper(retention_calls_days=7))
    async with database.read() as db:
        assert list(await db.scalars(select(sentiments.c.source))) == ["new"]
        assert list(await db.scalars(select(insights.c.source_id))) == ["new"]


async def test_entries_of_the_audit_are_removed_by_their_own_age(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    async with database.write() as db:
        for number in range(5):
            at = START + timedelta(hours=number)
            await record(db, at, ACCOUNT, AuditAction.KEY_REVOKED, COMMAND, target=f"key_{number}")
    clock.advance(timedelta(days=10, hours=3).total_seconds())
    await run(keeper(retention_audit_days=10, retention_requests_days=1))
    async with database.read() as db:
        assert sorted(await db.scalars(select(audit_entries.c.target))) == ["key_3", "key_4"]
