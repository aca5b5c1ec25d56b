"""Keeping the webhook subscription, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.db.engine import Database
from app.db.tables import subscriptions, work
from app.errors import RequestRefused
from app.webhooks.subscription import SubscriptionKeeper, Wanted
from tests.fakes.clock import START, FakeClock
from tests.fakes.ringcentral import FakeRingCentral, subscription_row

ADDRESS = "https://crm-hook.example.com/webhooks/ringcentral"
FILTERS = ("/restapi/v1.0/account/~/telephony/sessions",)
WANTED = Wanted(address=ADDRESS, filters=FILTERS, token="9b1d-example", expires_in_seconds=604_800)


@pytest.fixture
def ringcentral() -> FakeRingCentral:
    return FakeRingCentral()


def make_keeper(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, replica: str = "one"
) -> SubscriptionKeeper:
    return SubscriptionKeeper(
        database, clock, ringcentral.client, WANTED, replica=replica, check_seconds=180.0, lease_seconds=60.0
    )


def existing(subscription_id: str, **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"address": ADDRESS, "filters": FILTERS, "until": START + timedelta(days=7)}
    return subscription_row(subscription_id, **values | fields)


async def test_one_is_created_where_there_is_none(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    assert await keeper.step() == 180.0
    assert ringcentral.asked == ["token", "list", "create"]
    async with database.read() as db:
        row = (await db.execute(select(subscriptions))).one()
    assert (row.address, row.status) == (ADDRESS, "Active")
    await keeper.step()
    assert ringcentral.asked.count("create") == 1


async def test_an_existing_one_is_adopted_after_its_database_was_lost(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.subscriptions = [existing("theirs", address="https://other.example.com"), existing("ours")]
    await make_keeper(database, clock, ringcentral).step()
    assert "create" not in ringcentral.asked
    assert [row["id"] for row in ringcentral.subscriptions] == ["theirs", "ours"]


async def test_surplus_ones_of_our_address_are_deleted(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.subscriptions = [
        existing("a"),
        existing("b", until=START + timedelta(days=9)),
        existing("c", status="Blacklisted"),
    ]
    await make_keeper(database, clock, ringcentral).step()
    assert [row["id"] for row in ringcentral.subscriptions] == ["b"]


@pytest.mark.parametrize(
    "fields", [{"status": "Blacklisted"}, {"status": "Suspended"}, {"until": START - timedelta(seconds=1)}]
)
async def test_one_that_does_not_deliver_is_replaced(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, fields: dict[str, Any]
) -> None:
    ringcentral.subscriptions = [existing("dead", **fields)]
    await make_keeper(database, clock, ringcentral).step()
    assert ringcentral.asked == ["token", "list", "create", "delete dead"]


async def test_one_with_other_filters_is_updated(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.subscriptions = [existing("ours", filters=("/restapi/v1.0/account/~/presence",))]
    await make_keeper(database, clock, ringcentral).step()
    assert ringcentral.asked == ["token", "list", "update"]


async def test_it_is_renewed_when_half_of_its_life_is_gone(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.lifetime_end = START + timedelta(seconds=200)
    keeper = make_keeper(database, clock, ringcentral)
    assert await keeper.step() == pytest.approx(100.0)
    clock.advance(99)
    await keeper.step()
    assert "renew" not in ringcentral.asked
    clock.advance(2)
    ringcentral.lifetime_end = START + timedelta(seconds=400)
    await keeper.step()
    assert ringcentral.asked.count("renew") == 1


async def test_one_that_vanishes_is_created_anew(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    ringcentral.subscriptions.clear()
    await keeper.step()
    assert ringcentral.asked.count("create") == 2
    async with database.read() as db:
        assert len((await db.execute(select(subscriptions))).all()) == 1


async def test_a_failure_is_told_and_tried_again_with_growing_pauses(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    pauses = []
    for _ in range(3):
        ringcentral.failure = RequestRefused("the address is not reachable", status=400, code="SUB-521")
        pauses.append(await keeper.step())
    assert pauses == [2.0, 4.0, 8.0]
    async with database.read() as db:
        row = (await db.execute(select(work))).one()
    assert row.state["problem"]["code"] == "SUB-521"


async def test_one_replica_at_a_time_looks_after_it(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper, other = (
        make_keeper(database, clock, ringcentral),
        make_keeper(database, clock, ringcentral, "two"),
    )
    await keeper.step()
    async with database.write() as db:
        await db.execute(
            work.update().values(lease_owner="one", lease_until=clock.now() + timedelta(seconds=60))
        )
    asked = len(ringcentral.asked)
    await other.step()
    assert len(ringcentral.asked) == asked
