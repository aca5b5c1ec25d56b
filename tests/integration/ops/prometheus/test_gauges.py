"""The gauges of the whole service: read from the database, bounded, and NaN in an outage."""

import asyncio
import math
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from app import metrics
from app.api.dependencies import Services
from app.db.engine import Database
from app.db.pool import pool_state
from app.db.tables import calls, subscriptions, sweeps
from app.errors import StorageUnavailable
from app.ids import AccountId
from app.ops.prometheus.gauge_queries import subscription_state
from app.ops.prometheus.gauges import GaugeReader
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import FakeClock


def value(gauge: Any, **labels: str) -> float:
    return float((gauge.labels(**labels) if labels else gauge)._value.get())


def before(now: datetime, seconds: float) -> datetime:
    return now - timedelta(seconds=seconds)


async def add_call(database: Database, name: str, stage: str, clock: FakeClock, **values: Any) -> None:
    now = clock.now()
    row = {
        "account_id": ACCOUNT, "call_id": name, "telephony_session_id": name, "stage": stage, "version": 1,
        "changed_seq": 1, "outcome": "unknown", "started_at": now, "parties": [], "related": [],
        "details": {}, "facts": {}, "readiness": {}, "source": "webhook", "created_at": now,
        "updated_at": now,
    }  # fmt: skip
    async with database.write() as db:
        await db.execute(insert(calls).values(**(row | values)))


async def test_overdue_and_stale_calls_are_counted(
    services: Services, database: Database, clock: FakeClock, account: AccountId
) -> None:
    ago = partial(before, clock.now())
    await add_call(database, "waits", "ended", clock, window_closes_at=ago(-60))
    await add_call(database, "overdue", "ended", clock, window_closes_at=ago(500))
    await add_call(database, "older", "ended", clock, window_closes_at=ago(900))
    await add_call(database, "found", "final", clock, window_closes_at=ago(5000))
    await add_call(database, "live", "live", clock)
    await add_call(database, "stale", "live", clock, started_at=ago(20_000))
    await GaugeReader(clock).refresh(services)
    assert value(metrics.WAITING) == 1
    assert (value(metrics.OVERDUE), value(metrics.OVERDUE_SECONDS)) == (2, 900)
    assert (value(metrics.LIVE), value(metrics.LIVE_LONG)) == (2, 1)
    assert value(metrics.DATABASE_UP) == 1


async def test_gaps_are_counted_until_they_are_swept(
    services: Services, database: Database, clock: FakeClock, account: AccountId
) -> None:
    now = clock.now()
    ago = partial(before, now)
    rows = [
        ("lasts", "service-down", ago(700), None, None),
        ("ended", "deliveries-refused", ago(700), ago(300), None),
        ("swept", "service-down", ago(9000), ago(8000), ago(7000)),
        ("regular", "regular", ago(9000), None, None),
        ("backfill", "backfill", ago(9000), ago(10), None),
    ]
    async with database.write() as db:
        for sweep_id, reason, from_at, to_at, done_at in rows:
            await db.execute(
                insert(sweeps).values(
                    account_id=ACCOUNT,
                    sweep_id=sweep_id,
                    reason=reason,
                    from_at=from_at,
                    to_at=to_at,
                    done_at=done_at,
                    created_at=now,
                )
            )
    await GaugeReader(clock).refresh(services)
    for state, seconds in (("lasting", 700), ("unswept", 300)):
        assert value(metrics.GAPS, state=state) == 1
        assert value(metrics.GAP_SECONDS, state=state) == seconds


@pytest.mark.parametrize(
    ("status", "expires", "refused", "state"),
    [
        ("Active", 60, None, "active"),
        ("active", None, None, "active"),
        ("Active", -1, None, "expired"),
        ("Blacklisted", 60, None, "suspended"),
        ("Suspended", 60, None, "suspended"),
        ("Active", 60, 5, "deliveries-refused"),
        ("Something new", 60, None, "other"),
    ],
)
def test_subscription_state_of_gauges(
    status: str, expires: float | None, refused: float | None, state: str
) -> None:
    now = FakeClock().now()
    expires_at = None if expires is None else now + timedelta(seconds=expires)
    refused_since = None if refused is None else now - timedelta(seconds=refused)
    assert subscription_state(status, expires_at, refused_since, now) == state


async def test_subscriptions_and_credentials_are_counted_by_state(
    make_settings: Any, services: Services, database: Database, clock: FakeClock, account: AccountId
) -> None:
    settings = make_settings(
        public_url="https://calls.example.com", rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt"
    )
    kept = Services(settings, database, services.wakeups, clock)
    reader = GaugeReader(clock)
    await reader.refresh(kept)
    assert value(metrics.SUBSCRIPTIONS, state="missing") == 1
    assert value(metrics.CREDENTIALS, state="working") == 1
    assert math.isnan(value(metrics.SUBSCRIPTION_SECONDS))
    async with database.write() as db:
        await db.execute(
            insert(subscriptions).values(
                account_id="~",
                subscription_id="sub-1",
                address="https://calls.example.com",
                filters=[],
                status="Active",
                expires_at=clock.now() + timedelta(hours=2),
                checked_at=clock.now(),
            )
        )
    await reader.refresh(kept)
    assert value(metrics.SUBSCRIPTIONS, state="missing") == 0
    assert value(metrics.SUBSCRIPTIONS, state="active") == 1
    assert value(metrics.SUBSCRIPTION_SECONDS) == 7200


async def test_outage_sets_all_gauges_but_the_pools_to_nan(
    services: Services, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = GaugeReader(clock)
    await reader.refresh(services)

    async def fail(_: Services) -> Any:
        raise StorageUnavailable("away")

    monkeypatch.setattr(reader, "_read", fail)
    await reader.refresh(services)
    assert value(metrics.DATABASE_UP) == 0
    for gauge in (metrics.OVERDUE, metrics.LIVE, metrics.LIVE_LONG, metrics.BUDGET_SILENT):
        assert math.isnan(value(gauge))
    assert math.isnan(value(metrics.GAPS, state="lasting"))
    assert math.isnan(value(metrics.SUBSCRIPTIONS, state="other"))
    assert value(metrics.POOL_LIMIT) > 0


async def test_concurrent_scrapes_share_one_reading(
    services: Services, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, readings = GaugeReader(clock), 0
    read = reader._read

    async def counted(given: Services) -> Any:
        nonlocal readings
        readings += 1
        return await read(given)

    monkeypatch.setattr(reader, "_read", counted)
    await asyncio.gather(*(reader.refresh(services) for _ in range(20)))
    assert readings == 1


async def test_pool_counts_waiting_tasks(database_url: str) -> None:
    database = Database(database_url, 1)
    try:
        state = pool_state(database.engine)
        assert state is not None
        held = [await database.engine.connect() for _ in range(state.limit)]
        waiting = asyncio.create_task(database.engine.connect().__aenter__())
        async with asyncio.timeout(30):
            while (now := pool_state(database.engine)) is None or not now.waiting:  # noqa: ASYNC110 - the pool knows of no event
                await asyncio.sleep(0.01)
        assert (now.in_use, now.waiting) == (state.limit, 1)
        await held.pop().close()
        opened = await waiting
        now = pool_state(database.engine)
        assert now is not None
        assert now.waiting == 0
        for connection in (*held, opened):
            await connection.close()
    finally:
        await database.close()


async def test_metrics_page_has_only_metrics(anonymous: httpx.AsyncClient) -> None:
    page = (await anonymous.get("/metrics")).text
    assert "_created" not in page
    assert 'aftercall_calls_absent_total{reason="never-logged"}' in page
