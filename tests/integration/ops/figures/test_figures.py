"""Figures counted in the database, and who may read them."""

import math
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import delete, insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.accounts.access import Access
from app.accounts.credentials import Secret
from app.api import keys
from app.api.dependencies import Services
from app.api.known_keys import Scope
from app.calls import accounts
from app.calls.model import Outcome, Source, Stage
from app.db.engine import Database
from app.db.tables import credentials, deliveries, rate_buckets, subscriptions, work
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.dashboard.board import load_lanes
from app.ops.figures.summary import load_summary
from app.ops.health.router import check_all
from app.ops.prometheus.router import refresh_gauges
from app.rate_limits.bucket_state import BucketState, RequestSlot
from app.ringcentral.ports import Priority
from app.vault import Vault
from tests.conftest import SECRETS
from tests.factories_calls import ACCOUNT, seed_call, seed_note, seed_sentiment
from tests.fakes.clock import START, FakeClock

NOW = START + timedelta(minutes=10)
OTHER = AccountId("908070002")


REFUSED = {"code": "CMN-401", "detail": "for want of ReadCallLog", "since": START.isoformat()}


async def seed_rights(db: AsyncConnection, account_id: AccountId, name: str, **access: Any) -> None:
    """What is known of a connection, as the loops that use it write it down."""
    row = {
        "account_id": account_id,
        "name": name,
        "kind": "own" if name == "own" else "jwt",
        "updated_at": NOW,
    }
    secret = Secret("app", "secret", "jwt").dump()
    sealed = Vault(SECRETS["secret_key"]).encrypt(secret)
    await db.execute(insert(credentials).values(**row, secret=sealed, access=Access(**access).to_json()))


async def seed_company(database: Database) -> None:
    """Six ended calls: three found in time, one later, one absent, one waiting; one more goes on."""
    for after in (3.2, 4.04, 8.5):
        await seed_ended(database, 300, found_after=after)
    await seed_ended(database, 300, found_after=180, bootstrapped_by=Source.CALL_LOG)
    await seed_ended(database, 290, stage=Stage.ABSENT, absent_reason="never-logged")
    await seed_ended(database, 20, stage=Stage.ENDED)
    await seed_call(
        database,
        stage=Stage.LIVE,
        ended_at=None,
        bootstrapped_at=None,
        bootstrapped_by=None,
        started_at=NOW - timedelta(seconds=4),
    )


async def seed_ended(
    database: Database,
    seconds_ago: float,
    *,
    found_after: float | None = None,
    account_id: AccountId = ACCOUNT,
    **fields: Any,
) -> str:
    ended_at = NOW - timedelta(seconds=seconds_ago)
    values: dict[str, Any] = {
        "started_at": ended_at - timedelta(seconds=60),
        "ended_at": ended_at,
        "window_closes_at": ended_at + timedelta(seconds=120),
        "bootstrapped_at": ended_at + timedelta(seconds=found_after) if found_after else None,
        "bootstrapped_by": Source.ACTIVE_CALLS if found_after else None,
    }
    return (await seed_call(database, account_id, **values | fields)).call_id


async def test_calls_are_counted_by_outcome(services: Services, account: AccountId) -> None:
    await seed_company(services.database)
    async with services.database.read() as db:
        shown = await load_summary(db, account, services.settings, NOW)
    calls = shown.calls
    assert (calls.ended, calls.in_window, calls.later, calls.absent) == (6, 3, 1, 1)
    assert (calls.waiting, calls.overdue, calls.live) == (1, 0, 1)
    assert calls.found_share == pytest.approx(3 / 5)
    assert shown.delays.count == 4
    assert shown.delays.median_seconds == pytest.approx(4.05, abs=0.051)
    assert shown.delays.p99_seconds == pytest.approx(180, abs=0.11)
    assert sum(shown.delays.bins[:-1]) == 3
    assert shown.delays.bins[-1] == 1
    assert sum(minute.in_window for minute in shown.minutes) == 3
    assert [call.closes_at - NOW for call in shown.waiting] == [timedelta(seconds=100)]


async def test_call_log_record_within_the_window_counts_as_in_window(
    services: Services, account: AccountId
) -> None:
    await seed_ended(services.database, 300, found_after=9, bootstrapped_by=Source.CALL_LOG)
    await seed_ended(services.database, 300, found_after=121, bootstrapped_by=Source.CALL_LOG)
    async with services.database.read() as db:
        shown = await load_summary(db, account, services.settings, NOW)
    assert (shown.calls.in_window, shown.calls.later) == (1, 1)


async def test_swept_calls_have_their_own_count_and_no_delay(services: Services, account: AccountId) -> None:
    await seed_ended(services.database, 300, found_after=3)
    for _ in range(4):
        swept: dict[str, Any] = {
            "bootstrapped_by": Source.CALL_LOG,
            "source": Source.SWEEP,
            "window_closes_at": None,
        }
        await seed_ended(services.database, 300, found_after=5.9, **swept)
    async with services.database.read() as db:
        shown = await load_summary(db, account, services.settings, NOW)
    assert (shown.calls.ended, shown.calls.in_window, shown.calls.later, shown.calls.swept) == (5, 1, 0, 4)
    assert shown.calls.found_share == 1.0
    assert (shown.delays.count, sum(minute.swept for minute in shown.minutes)) == (1, 4)


async def test_minutes_add_up_to_the_figures(services: Services, account: AccountId) -> None:
    for seconds in range(3400, 3660, 20):
        await seed_ended(services.database, seconds, found_after=4)
    await seed_ended(services.database, 130, stage=Stage.ENDED)
    await seed_company(services.database)
    async with services.database.read() as db:
        shown = await load_summary(db, account, services.settings, NOW)
    calls = shown.calls
    for name in ("in_window", "later", "absent", "waiting", "overdue", "swept"):
        assert sum(getattr(minute, name) for minute in shown.minutes) == getattr(calls, name), name
    parts = (calls.in_window, calls.later, calls.absent, calls.waiting, calls.overdue, calls.swept)
    assert calls.ended == sum(parts)
    assert sum(shown.delays.bins) == calls.in_window + calls.later


async def test_calls_count_in_the_minute_of_their_end(services: Services, account: AccountId) -> None:
    await seed_ended(services.database, 0, found_after=None, stage=Stage.ENDED)
    await seed_ended(services.database, 41.5, found_after=3)  # 18:17:41 less this: still 18:16:59
    async with services.database.read() as db:
        shown = await load_summary(db, account, services.settings, NOW)
    assert [(minute.open, minute.in_window) for minute in shown.minutes[-2:]] == [(0, 1), (1, 0)]


async def test_calls_of_other_accounts_and_hours_are_not_counted(
    services: Services, account: AccountId
) -> None:
    await seed_ended(services.database, 3700, found_after=3)
    await seed_ended(services.database, 30, found_after=3, account_id=OTHER)
    async with services.database.read() as db:
        own = await load_summary(db, account, services.settings, NOW)
        everything = await load_summary(db, None, services.settings, NOW)
    assert own.calls.ended == 0
    assert everything.calls.ended == 1


async def test_call_past_its_window_is_overdue(services: Services, account: AccountId) -> None:
    await seed_ended(services.database, 130, stage=Stage.ENDED)
    async with services.database.read() as db:
        shown = await load_summary(db, account, services.settings, NOW)
    assert (shown.calls.waiting, shown.calls.overdue, shown.calls.found_share) == (0, 1, 0.0)


async def test_summary_is_limited_to_the_account(services: Services, account: AccountId) -> None:
    state = BucketState(slots=(RequestSlot(1, Priority.POLL, NOW, NOW),), last_token=1, limit=10)
    async with services.database.write() as db:
        await seed_rights(db, account, "ext-1", problem=REFUSED)
        await db.execute(
            insert(rate_buckets).values(
                account_id=UNBOUND_ACCOUNT, bucket="own:heavy", state=state.to_json(), updated_at=NOW
            )
        )
        await db.execute(
            insert(subscriptions).values(
                account_id=UNBOUND_ACCOUNT,
                subscription_id="1",
                address="https://aftercall.test/webhooks/ringcentral",
                filters=[],
                disabled_filters=[{"filter": "/presence", "reason": "CMN-408"}],
                status="Active",
                expires_at=NOW + timedelta(days=7),
                checked_at=NOW,
            )
        )
    async with services.database.read() as db:
        shown = await load_summary(db, account, services.settings, NOW)
        foreign = await load_summary(db, OTHER, services.settings, NOW)
    assert [(one.account_id, one.credentials, one.code) for one in shown.problems] == [
        (UNBOUND_ACCOUNT, None, "no-public-url"),
        (account, "ext-1", "CMN-401"),
    ]
    assert shown.budget is not None
    assert (shown.budget.free, shown.budget.limit) == (9, 10)
    assert shown.subscriptions[0].disabled_filters == ("/presence",)
    assert (foreign.problems, foreign.budget, foreign.subscriptions) == ((), None, ())


async def test_each_problem_names_its_credentials(
    services: Services, account: AccountId, client: httpx.AsyncClient
) -> None:
    ended = {"code": "sign-in-again", "detail": "open /oauth/ringcentral/start", "since": None}
    async with services.database.write() as db:
        await accounts.add(db, OTHER, NOW)
        await seed_rights(db, account, "ext-1", problem=REFUSED)
        await seed_rights(db, account, "ext-2", problem=ended, scopes=("ReadCallLog", "CallControl"))
        await seed_rights(db, account, "ext-3")
        await seed_rights(db, OTHER, "ext-1", problem=REFUSED)
        keeper = {
            "account_id": account,
            "kind": "subscription:ext-1",
            "failures": 3,
            "state": {"problem": REFUSED},
        }
        await db.execute(insert(work).values(keeper))
    shown = (await client.get("/v1/ops/summary")).json()["problems"]
    own = [
        (account, "ext-1", "credentials", "CMN-401"),
        (account, "ext-2", "credentials", "sign-in-again"),
        (account, "ext-2", "credentials", "CMN-401"),
    ]
    said = [
        (one["accountId"], one["credentials"], one["about"], one["code"])
        for one in shown
        if one["about"] != "setup"
    ]
    assert said == [*own, (OTHER, "ext-1", "credentials", "CMN-401")], "the key administers the service"
    async with services.database.read() as db:
        alone = (await load_summary(db, account, services.settings, NOW)).problems
    assert [(one.account_id, one.credentials, one.about, one.code) for one in alone[1:]] == own
    assert shown[1]["since"].startswith("2026-03-10T18:07:41")
    assert "SubscriptionWebhook" in shown[3]["detail"]
    assert (shown[3]["title"], alone[0].about) == ("An app scope is missing", "setup")


async def test_subscription_problem_appears_after_repeated_failures(
    services: Services, account: AccountId
) -> None:
    failing = {"problem": {"code": None, "detail": "timeout", "since": NOW.isoformat()}}
    row = {"account_id": UNBOUND_ACCOUNT, "kind": "subscription", "failures": 1, "state": failing}
    async with services.database.write() as db:
        await db.execute(insert(work).values(row))
    async with services.database.read() as db:
        once = await load_summary(db, account, services.settings, NOW)
    async with services.database.write() as db:
        await db.execute(update(work).values(failures=3))
    async with services.database.read() as db:
        often = await load_summary(db, account, services.settings, NOW)
    assert "timeout" not in [problem.detail for problem in once.problems]
    assert [problem.detail for problem in often.problems if problem.about == "subscription"] == ["timeout"]


async def test_board_shows_notes_and_latest_sentiment(services: Services, account: AccountId) -> None:
    call_id = await seed_ended(services.database, 20, found_after=4, outcome=Outcome.MISSED)
    await seed_note(services.database, call_id)
    await seed_note(services.database, call_id)
    await seed_sentiment(services.database, call_id, label="negative", source="ace", at=START)
    await seed_sentiment(
        services.database, call_id, label="positive", source="ringsense", at=START + timedelta(seconds=1)
    )
    async with services.database.read() as db:
        lanes = await load_lanes(db, [account], frozenset(), NOW)
    assert [(lane.call_id, lane.notes, lane.sentiment) for lane in lanes] == [(call_id, 2, "positive")]


async def test_waiting_call_stays_on_the_board_when_many_start_after_it(
    services: Services, account: AccountId
) -> None:
    call_id = await seed_ended(services.database, 100, stage=Stage.ENDED)
    for number in range(14):
        await seed_ended(services.database, 30 - number, stage=Stage.ENDED)
    async with services.database.read() as db:
        fresh = await load_lanes(db, [account], frozenset(), NOW)
        kept = await load_lanes(db, [account], frozenset({call_id}), NOW)
    assert call_id not in {lane.call_id for lane in fresh}
    assert call_id in {lane.call_id for lane in kept}


async def seed_delivery(database: Database, uuid: str, note: str | None, *, folded: bool = True) -> None:
    row = {
        "account_id": ACCOUNT,
        "uuid": uuid,
        "received_at": NOW - timedelta(minutes=2),
        "raw": b"{}",
        "folded_at": NOW if folded else None,
        "fold_note": note,
    }
    async with database.write() as db:
        await db.execute(insert(deliveries).values(row))


async def test_dead_letters_are_counted_by_reason(
    database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    clock.set(NOW)
    for uuid, note in (
        ("1", "ignored: test-call"),
        ("2", "ignored: not-understood"),
        ("3", "ignored: test-call"),
    ):
        await seed_delivery(database, uuid, note)
    await seed_delivery(database, "4", None)
    response = await client.get("/v1/ops/dead-letters")
    assert response.json()["data"] == [
        {"reason": "ignored: test-call", "count": 2},
        {"reason": "ignored: not-understood", "count": 1},
    ]
    assert (await client.get("/v1/ops/dead-letters?hours=0.01")).json()["data"] == []
    assert (await client.get("/v1/ops/dead-letters?hours=0")).status_code == 422


async def test_summary_is_camel_case_without_phone_numbers(
    database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    clock.set(NOW)
    await seed_company(database)
    response = await client.get("/v1/ops/summary")
    assert response.status_code == 200
    shown = response.json()
    assert shown["calls"]["inWindow"] == 3
    assert shown["delays"]["medianSeconds"] == pytest.approx(4.05, abs=0.051)
    assert shown["waiting"][0]["sessionId"]
    assert len(shown["minutes"]) == 60
    assert "+1555" not in response.text


async def test_only_administrators_read_the_summary(
    database: Database, anonymous: httpx.AsyncClient, account: AccountId
) -> None:
    async with database.write() as db:
        reader = await keys.create_key(db, account, "reader", NOW, [Scope.CALLS_READ])
    for path in ("/v1/ops/summary", "/v1/ops/dead-letters"):
        assert (await anonymous.get(path)).status_code == 401
        refused = await anonymous.get(path, headers={"Authorization": f"Bearer {reader.plain}"})
        assert refused.status_code == 403


async def test_healthy_service_is_ready(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.get("/healthz")).json() == {"status": "ok"}
    response = await anonymous.get("/readyz")
    assert response.status_code == 200
    assert [check["name"] for check in response.json()["checks"]] == ["database", "schema", "intake", "inbox"]


async def test_inbox_backlog_is_not_ready(
    database: Database, anonymous: httpx.AsyncClient, clock: FakeClock
) -> None:
    await seed_delivery(database, "1", None, folded=False)
    clock.set(NOW)
    response = await anonymous.get("/readyz")
    assert response.status_code == 503
    wrong = [check for check in response.json()["checks"] if not check["ok"]]
    assert [check["name"] for check in wrong] == ["inbox"]
    assert "worker" in wrong[0]["todo"]


async def test_missing_schema_is_not_ready(services: Services) -> None:
    async with services.database.write() as db:
        await db.execute(text("DELETE FROM alembic_version"))
    checks = await check_all(services)
    assert [(check.name, check.ok) for check in checks] == [("database", True), ("schema", False)]


async def test_unavailable_database_is_not_ready(services: Services) -> None:
    away = Services(
        services.settings,
        Database("postgresql+asyncpg://nobody@127.0.0.1:9/nothing"),
        services.wakeups,
        services.clock,
    )
    checks = await check_all(away)
    assert [(check.name, check.ok) for check in checks] == [("database", False)]
    assert "AFTERCALL_DATABASE_URL" in (checks[0].todo or "")


async def test_gauges_are_read_from_the_database_at_each_scrape(
    database: Database, anonymous: httpx.AsyncClient, account: AccountId, clock: FakeClock
) -> None:
    clock.set(NOW)
    await seed_company(database)
    await seed_delivery(database, "1", None, folded=False)
    shown = _gauges((await anonymous.get("/metrics")).text)
    assert shown["aftercall_waiting_calls"] == 1
    assert shown["aftercall_budget_free_requests"] == 10
    assert shown["aftercall_inbox_deliveries"] == 1
    assert shown["aftercall_inbox_oldest_seconds"] == 120
    async with database.write() as db:
        await db.execute(delete(deliveries))
    assert _gauges((await anonymous.get("/metrics")).text)["aftercall_inbox_deliveries"] == 0


async def test_gauges_are_nan_without_the_database(
    services: Services,
) -> None:
    away = Services(
        services.settings,
        Database("postgresql+asyncpg://nobody@127.0.0.1:9/nothing"),
        services.wakeups,
        services.clock,
    )
    await refresh_gauges(away)
    assert math.isnan(next(iter(metrics.WAITING.collect())).samples[0].value)


def _gauges(page: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.labels
    }
