"""The keeper keeps a webhook subscription and notices when none delivers, on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.accounts.access import Access, Level
from app.accounts.connections import Connection
from app.db.engine import Database
from app.db.tables import subscriptions, sweeps, work
from app.enrichment import gaps
from app.enrichment.gaps import Sweep
from app.errors import PermissionMissing, RateLimited, RequestRefused
from app.ids import AccountId, ExtensionId
from app.webhooks.subscriptions.choice import Wanted, of_extension, pause_after
from app.webhooks.subscriptions.keeper import SubscriptionKeeper
from app.webhooks.subscriptions.supervisor import SubscriptionSupervisor, subscription_owners
from tests.factories_calls import seed_call
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import accounts_context, work_context
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral, subscription_row

ADDRESS = "https://crm-hook.example.com/webhooks/ringcentral"
FILTERS = ("/restapi/v1.0/account/~/telephony/sessions",)
WANTED = Wanted(address=ADDRESS, filters=FILTERS, token="9b1d-example", expires_in_seconds=604_800)


@pytest.fixture
def ringcentral(clock: FakeClock) -> FakeRingCentral:
    return FakeRingCentral(clock)


def make_keeper(
    database: Database,
    clock: FakeClock,
    ringcentral: FakeRingCentral,
    replica: str = "one",
    token: str = WANTED.token,
) -> SubscriptionKeeper:
    wanted = replace(WANTED, token=token)
    return SubscriptionKeeper(
        work_context(database, clock, replica=replica, lease_seconds=60.0),
        ringcentral.client,
        wanted,
        check_seconds=180.0,
    )


def make_supervisor(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, settings: Any
) -> SubscriptionSupervisor:
    return SubscriptionSupervisor(
        accounts_context(
            database,
            clock,
            FakeConnections(ringcentral, settings, database, clock),
            replica="one",
            lease_seconds=60.0,
        ),
        WANTED,
        check_seconds=180.0,
        sweep_after_seconds=60.0,
    )


async def gaps_of(database: Database) -> list[Sweep]:
    async with database.read() as db:
        return [gaps.read_row(row) for row in await db.execute(select(sweeps).order_by(sweeps.c.from_at))]


def existing(subscription_id: str, **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"address": ADDRESS, "filters": FILTERS, "until": START + timedelta(days=7)}
    return subscription_row(subscription_id, **values | fields)


async def test_a_missing_subscription_is_created(
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


async def test_an_existing_subscription_is_adopted_after_the_database_was_lost(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.subscriptions = [existing("theirs", address="https://other.example.com"), existing("ours")]
    await make_keeper(database, clock, ringcentral).step()
    assert "create" not in ringcentral.asked
    assert [row["id"] for row in ringcentral.subscriptions] == ["theirs", "ours"]


async def test_surplus_subscriptions_with_our_address_are_deleted(
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
async def test_a_subscription_that_does_not_deliver_is_replaced(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, fields: dict[str, Any]
) -> None:
    ringcentral.subscriptions = [existing("dead", **fields)]
    await make_keeper(database, clock, ringcentral).step()
    assert ringcentral.asked == ["token", "list", "create", "delete dead"]


async def test_a_subscription_with_other_filters_is_updated(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.subscriptions = [existing("ours", filters=("/restapi/v1.0/account/~/presence",))]
    await make_keeper(database, clock, ringcentral).step()
    assert ringcentral.asked == ["token", "list", "update"]


async def test_a_subscription_is_renewed_in_the_middle_of_its_lifetime(
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


async def test_checks_in_between_do_not_postpone_the_renewal(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.lifetime_end = START + timedelta(seconds=200)
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    clock.advance(60)
    assert await keeper.step() == pytest.approx(40.0)


async def test_a_subscription_that_vanishes_is_created_again(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    ringcentral.subscriptions.clear()
    await keeper.step()
    assert ringcentral.asked.count("create") == 2
    async with database.read() as db:
        assert len((await db.execute(select(subscriptions))).all()) == 1


async def test_a_failure_is_reported_and_retried_with_growing_pauses(
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


def test_a_failure_that_lasts_for_weeks_is_still_retried() -> None:
    assert pause_after(10_000, RequestRefused("no", status=400), START) == 120.0


async def test_the_keeper_waits_for_a_used_up_budget(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    for _ in range(3):
        ringcentral.failure = RateLimited("busy", retry_at=clock.now() + timedelta(seconds=90))
        assert await keeper.step() == 90.0


async def test_one_replica_at_a_time_keeps_the_subscription(
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
    assert await other.step() == 60.0, "by then the other replica has finished or crashed"
    assert len(ringcentral.asked) == asked


async def test_a_turn_that_outlasts_its_lease_is_not_taken_by_another(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RingCentral responds to a creation after the handshake, which takes up to a minute."""
    keeper, other = (
        SubscriptionKeeper(
            work_context(database, clock, replica=replica, lease_seconds=0.03),
            ringcentral.client,
            WANTED,
            check_seconds=180.0,
        )
        for replica in ("one", "two")
    )
    create = ringcentral.create_subscription

    async def create_slowly(*arguments: Any, **options: Any) -> Any:
        for _ in range(3):
            until = clock.advance(0.02) + timedelta(seconds=0.03)
            async with asyncio.timeout(20):
                while await lease_until(database) != until:  # noqa: ASYNC110 - it is in the database
                    await asyncio.sleep(0.01)
        asked = len(ringcentral.asked)
        assert await other.step() == 1.0
        assert len(ringcentral.asked) == asked
        return await create(*arguments, **options)

    monkeypatch.setattr(ringcentral, "create_subscription", create_slowly)
    await keeper.step()
    assert ringcentral.asked.count("create") == 1
    assert await lease_until(database) is None


async def lease_until(database: Database) -> Any:
    async with database.read() as db:
        return await db.scalar(select(work.c.lease_until))


async def statuses(database: Database) -> list[str]:
    async with database.read() as db:
        return list(await db.scalars(select(subscriptions.c.status)))


async def test_the_first_subscription_leaves_no_gap(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    await make_keeper(database, clock, ringcentral).step()
    assert await gaps_of(database) == []


@pytest.mark.parametrize(
    ("status", "reason", "begins", "stored_status"),
    [
        ("Blacklisted", "subscription-suspended", START - timedelta(minutes=30), "Suspended"),
        ("gone", "subscription-missing", START, "Missing"),
    ],
)
async def test_a_gap_is_recorded_while_no_subscription_delivers(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, account: AccountId,
    status: str, reason: str, begins: Any, stored_status: str,
) -> None:  # fmt: skip
    await seed_call(database, account, started_at=START - timedelta(minutes=30))
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    if status == "gone":
        ringcentral.subscriptions.clear()
    else:
        ringcentral.subscriptions[0]["status"] = status
        ringcentral.subscriptions[0]["blacklistedData"] = {"reason": "Read timed out"}
    clock.advance(180)
    ringcentral.create_failure = RequestRefused("not reachable", status=400, code="SUB-521")
    await keeper.step()
    (gap,) = await gaps_of(database)
    assert (gap.reason, gap.from_at, gap.to_at) == (reason, begins, None)
    assert gap.detail == (None if status == "gone" else "Read timed out")
    assert await statuses(database) == [stored_status]
    clock.advance(20)
    await keeper.step()
    (gap,) = await gaps_of(database)
    assert await statuses(database) == ["Active"]
    assert (gap.from_at, gap.to_at) == (begins, clock.now()), (
        "the gap ends when a subscription delivers again"
    )
    assert gap.due_at == clock.now() + timedelta(seconds=60)


async def test_a_subscription_replaced_by_another_program_leaves_a_gap(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    ringcentral.subscriptions = [existing("another")]
    clock.advance(180)
    await keeper.step()
    assert ringcentral.asked.count("create") == 1
    (gap,) = await gaps_of(database)
    assert (gap.reason, gap.from_at, gap.to_at) == ("subscription-missing", START, clock.now())


async def test_a_slow_response_says_nothing_about_the_time_after_the_request(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, monkeypatch: pytest.MonkeyPatch
) -> None:
    ringcentral.subscriptions.append(existing("old"))
    keeper = make_keeper(database, clock, ringcentral)
    fetch = ringcentral.list_subscriptions

    async def dawdle(**named: Any) -> Any:
        found = await fetch(**named)
        clock.advance(40)
        return found

    monkeypatch.setattr(ringcentral, "list_subscriptions", dawdle)
    await keeper.step()
    ringcentral.subscriptions.clear()
    await keeper.step()
    (gap,) = await gaps_of(database)
    assert (gap.reason, gap.from_at) == ("subscription-missing", START)


async def test_a_subscription_with_a_former_address_delivers_no_more(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    ringcentral.subscriptions[0]["deliveryMode"]["address"] = (
        "https://former.example.com/webhooks/ringcentral"
    )
    clock.advance(180)
    await keeper.step()
    assert ringcentral.asked.count("create") == 2
    assert len(ringcentral.subscriptions) == 2, "it may belong to another installation by now"
    (gap,) = await gaps_of(database)
    assert (gap.reason, gap.from_at, gap.to_at) == ("subscription-missing", START, clock.now())


async def test_no_gap_is_recorded_when_a_longer_lived_subscription_is_kept_instead(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    ringcentral.subscriptions.append(existing("longer", until=START + timedelta(days=9)))
    await keeper.step()
    assert [row["id"] for row in ringcentral.subscriptions] == ["longer"]
    assert await gaps_of(database) == []


@pytest.mark.parametrize("change", ["renew", "update"])
async def test_a_subscription_that_vanishes_during_a_check_leaves_a_gap(
    database: Database,
    clock: FakeClock,
    ringcentral: FakeRingCentral,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    clock.advance(180)
    async with database.write() as db:
        await db.execute(update(subscriptions).values(renew_at=clock.now()))
    if change == "update":
        ringcentral.subscriptions[0]["eventFilters"] = ["/restapi/v1.0/account/~/presence"]

    async def gone(*_: Any, **__: Any) -> None:
        ringcentral.subscriptions.clear()

    monkeypatch.setattr(ringcentral, f"{change}_subscription", gone)
    await keeper.step()
    assert ringcentral.asked.count("create") == 2
    (gap,) = await gaps_of(database)
    assert (gap.reason, gap.from_at, gap.to_at) == ("subscription-missing", START, clock.now())


async def test_refused_filters_are_requested_again_periodically(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    """A renewal does not request them: a permission granted since would take effect months later."""
    refused = {"filter": FILTERS[0], "reason": "SUB-405", "message": "not allowed"}
    ringcentral.subscriptions = [existing("ours", filters=()) | {"disabledFilters": [refused]}]
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    ringcentral.asked.clear()
    clock.advance(3599)
    await keeper.step()
    assert "update" not in ringcentral.asked
    clock.advance(1)
    await keeper.step()
    assert ringcentral.asked.count("update") == 1
    await keeper.step()
    assert ringcentral.asked.count("update") == 1


async def test_the_gap_of_an_expired_subscription_begins_with_its_expiry(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.lifetime_end = START + timedelta(seconds=200)
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    clock.advance(900)
    ringcentral.lifetime_end = START + timedelta(seconds=9000)
    await keeper.step()
    (gap,) = await gaps_of(database)
    assert (gap.reason, gap.from_at) == ("subscription-expired", START + timedelta(seconds=200))
    assert gap.to_at == clock.now()


async def test_a_reminder_renews_the_subscription_at_once(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    async with database.write() as db:
        await db.execute(update(subscriptions).values(renew_at=clock.now()))
    await keeper.step()
    assert ringcentral.asked.count("renew") == 1
    await keeper.step()
    assert ringcentral.asked.count("renew") == 1, "even if its expiry did not move"


async def test_an_adopted_subscription_with_another_secret_is_replaced(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.subscriptions = [existing("foreign")]
    keeper = make_keeper(database, clock, ringcentral)
    await keeper.step()
    assert "create" not in ringcentral.asked, "there is no reason against it yet"
    refused_at = clock.advance(60)
    async with database.write() as db:
        await db.execute(update(subscriptions).values(refused_since=refused_at))
    clock.advance(10)
    await keeper.step()
    assert ringcentral.asked[-2:] == ["create", "delete foreign"]
    (gap,) = await gaps_of(database)
    assert (gap.reason, gap.from_at, gap.to_at) == ("deliveries-refused", refused_at, clock.now())
    await keeper.step()
    assert ringcentral.asked.count("create") == 1


async def test_a_subscription_with_a_former_secret_is_replaced(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    await make_keeper(database, clock, ringcentral).step()
    clock.advance(60)
    await make_keeper(database, clock, ringcentral, token="a-new-one").step()
    assert ringcentral.asked.count("create") == 2
    assert len(ringcentral.subscriptions) == 1
    await make_keeper(database, clock, ringcentral, token="a-new-one").step()
    assert ringcentral.asked.count("create") == 2


async def test_dead_subscriptions_are_deleted_when_there_are_too_many(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.subscriptions = [existing("dead", status="Blacklisted")]
    ringcentral.create_failure = RequestRefused("too many", status=403, code="SUB-505")
    await make_keeper(database, clock, ringcentral).step()
    assert ringcentral.asked[:5] == ["token", "list", "create", "delete dead", "create"]


async def test_a_refusal_says_what_to_do(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral
) -> None:
    ringcentral.failure = RequestRefused("RingCentral answered 400", status=400, code="SUB-524")
    await make_keeper(database, clock, ringcentral).step()
    async with database.read() as db:
        row = (await db.execute(select(work))).one()
    assert "full chain" in row.state["problem"]["detail"]


async def test_without_account_wide_rights_the_users_own_extension_is_subscribed_to(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, make_settings: Any
) -> None:
    settings = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")
    supervisor = make_supervisor(database, clock, ringcentral, settings)
    ringcentral.create_failure = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    assert await supervisor.step() == pytest.approx(2.0)
    clock.advance(3)
    await supervisor.step()
    assert ringcentral.filters == ["/restapi/v1.0/account/~/extension/~/telephony/sessions"]
    async with database.read() as db:
        assert (await db.execute(select(subscriptions.c.account_id, subscriptions.c.name))).all() == [
            ("~", "own")
        ]


async def test_the_supervisor_checks_what_is_due_and_what_is_urgent(
    database: Database, clock: FakeClock, ringcentral: FakeRingCentral, make_settings: Any
) -> None:
    settings = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")
    supervisor = make_supervisor(database, clock, ringcentral, settings)
    assert await supervisor.step() == pytest.approx(180.0)
    clock.advance(10)
    assert await supervisor.step() == pytest.approx(170.0)
    assert ringcentral.asked.count("list") == 1
    async with database.write() as db:
        await db.execute(update(subscriptions).values(renew_at=clock.now()))
    await supervisor.step()
    assert ringcentral.asked.count("renew") == 1


def test_filters_of_an_extension() -> None:
    filters = (
        "/restapi/v1.0/account/~/telephony/sessions?direction=Inbound",
        "/restapi/v1.0/account/~/presence",
    )
    assert of_extension(filters) == (
        "/restapi/v1.0/account/~/extension/~/telephony/sessions?direction=Inbound",
        "/restapi/v1.0/account/~/extension/~/presence",
    )
    own = ("/restapi/v1.0/account/~/extension/7/presence",)
    assert of_extension(own) == own


def test_a_company_wide_connection_owns_the_subscription_else_each_user_does() -> None:
    limited = Access(Level.EXTENSION, ExtensionId("7"))
    nothing: Any = None
    ana, ben = (Connection(AccountId("1"), name, nothing, nothing, limited) for name in ("ana", "ben"))
    service = Connection(AccountId("1"), "service", nothing, nothing)
    other = Connection(AccountId("2"), "other", nothing, nothing, limited)
    assert subscription_owners([ana, ben, other]) == [ana, ben, other]
    assert subscription_owners([ana, ben, service, other]) == [service, other]
