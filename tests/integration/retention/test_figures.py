"""Operators see how long each kind is kept, and how old the oldest of it is."""

from datetime import timedelta
from typing import Any

import pytest

from app.api.dependencies import Services
from app.calls.model import Stage
from app.db.engine import Database
from app.db.tables import deliveries
from app.ids import AccountId
from app.ops import router
from app.ops.figures.retention import describe_rules, load_retention, show_days
from app.retention.rules import Kind, retention_rules
from tests.conftest import build_app, open_client
from tests.factories_calls import raw_record, seed_call, seed_note
from tests.fakes.clock import START
from tests.integration.retention.test_calls import seed_recording

DAY = timedelta(days=1)


async def test_an_empty_service_keeps_nothing(database: Database, make_settings: Any) -> None:
    rules = retention_rules(make_settings(retention_calls_days=400))
    async with database.read() as db:
        found = {one.kind: (one.days, one.oldest) for one in await load_retention(db, rules)}
    assert found == {
        Kind.DELIVERIES: (30, None),
        Kind.RECORDS: (None, None),
        Kind.TIMELINE: (365, None),
        Kind.CALLS: (400, None),
        Kind.NOTES: (None, None),
        Kind.RECORDINGS: (None, None),
        Kind.REQUESTS: (2, None),
        Kind.ATTEMPTS: (30, None),
        Kind.AUDIT: (730, None),
    }


async def test_the_oldest_of_each_kind_is_that_of_all_accounts(
    database: Database, make_settings: Any
) -> None:
    for number, age in enumerate((3, 1, 2)):
        at = START - age * DAY
        account = AccountId(f"90807000{number}")
        call = await seed_call(
            database, account, stage=Stage.FINAL, started_at=at, records=[raw_record()], ended_at=at
        )
        await seed_note(database, call.call_id, call.account_id, at=at)
        await seed_recording(database, call, "a/b.mp3")
        async with database.write() as db:
            row = {"account_id": call.account_id, "uuid": "d", "received_at": at, "raw": b"{}"}
            await db.execute(deliveries.insert().values(**row, folded_at=at))
    async with database.read() as db:
        found = {one.kind: one.oldest for one in await load_retention(db, retention_rules(make_settings()))}
    oldest = START - 3 * DAY
    nothing = {Kind.REQUESTS: None, Kind.ATTEMPTS: None, Kind.AUDIT: None}
    assert found == dict.fromkeys(Kind, oldest) | {Kind.RECORDINGS: START} | nothing


async def test_the_route_shows_it(services: Services, account: AccountId, api_key: str) -> None:
    app = build_app(services)
    app.include_router(router.router)
    async with open_client(app, api_key) as client:
        answer = (await client.get("/v1/ops/retention")).json()
    assert [one["kind"] for one in answer["data"]] == list(Kind)
    assert answer["data"][0] == {"kind": "deliveries", "days": 30.0, "oldest": None}


@pytest.mark.parametrize(
    ("days", "shown"), [(None, "without limit"), (30.0, "30 days"), (1.0, "1 day"), (0.5, "0.5 days")]
)
def test_a_time_in_words(days: float | None, shown: str) -> None:
    assert show_days(days) == shown


def test_the_rules_in_one_sentence(make_settings: Any) -> None:
    shown = describe_rules(retention_rules(make_settings(retention_calls_days=7)))
    assert shown == "Kept: raw deliveries 7 days, changes 365 days, calls 7 days."
