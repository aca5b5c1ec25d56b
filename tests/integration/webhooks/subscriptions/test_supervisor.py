"""The subscriptions of many accounts and users, side by side, on both databases."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.accounts.access import Access, Level
from app.accounts.credentials import remove
from app.db.engine import Database
from app.db.tables import subscriptions, work
from app.errors import RequestRefused, RingCentralUnreachable, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.ringcentral.models import Subscription
from app.webhooks.subscriptions.choice import Wanted
from app.webhooks.subscriptions.keeper import SubscriptionKeeper
from app.webhooks.subscriptions.supervisor import SubscriptionSupervisor
from tests.conftest import until
from tests.fakes.clock import FakeClock
from tests.fakes.context import accounts_context
from tests.fakes.ringcentral import FakeRingCentral
from tests.integration.accounts.test_connections import ANA, BEN, OTHER, Company

ADDRESS = "https://crm-hook.example.com/webhooks/ringcentral"
FILTERS = ("/restapi/v1.0/account/~/telephony/sessions",)
OF_EXTENSION = ["/restapi/v1.0/account/~/extension/~/telephony/sessions"]
WANTED = Wanted(address=ADDRESS, filters=FILTERS, token="9b1d-example", expires_in_seconds=604_800)
OWN = (UNBOUND_ACCOUNT, "own")


class Hanging(FakeRingCentral):
    """Responds when the test opens the door."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.door = asyncio.Event()

    async def list_subscriptions(self, **given: Any) -> tuple[Subscription, ...]:
        await self.door.wait()
        return await super().list_subscriptions(**given)


class Supervised(Company):
    """Some accounts and the supervisor of their subscriptions."""

    def __init__(self, database: Database, clock: FakeClock, settings: Any) -> None:
        super().__init__(database, clock, settings)
        self.own = FakeRingCentral(clock)
        self.connections.behind[OWN] = self.own
        self.supervisor = self.make_supervisor()

    def make_supervisor(self, patience_seconds: float | None = None) -> SubscriptionSupervisor:
        return SubscriptionSupervisor(
            accounts_context(
                self.database,
                self.clock,
                self.connections,
                replica="one",
                lease_seconds=15.0,
                patience_seconds=patience_seconds,
            ),
            WANTED,
            check_seconds=180.0,
            sweep_after_seconds=60.0,
        )

    async def wait_for_lists(self, ringcentral: FakeRingCentral, count: int) -> None:
        """Let time pass until RingCentral has listed subscriptions `count` times."""
        async with asyncio.timeout(60):
            while ringcentral.asked.count("list") < count:
                self.clock.advance(60)
                await self.supervisor.step()

    async def kept(self) -> set[tuple[str, str]]:
        async with self.database.read() as db:
            rows = await db.execute(select(subscriptions.c.account_id, subscriptions.c.name))
            return {(row.account_id, row.name) for row in rows}

    async def remind(self) -> None:
        async with self.database.write() as db:
            await db.execute(update(subscriptions).values(renew_at=self.clock.now()))


@pytest.fixture
async def company(database: Database, clock: FakeClock, account: AccountId, make_settings: Any) -> Any:
    settings = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")
    supervised = Supervised(database, clock, settings)
    yield supervised
    await supervised.supervisor.close()


async def test_an_account_that_hangs_delays_no_other(company: Supervised) -> None:
    hanging = Hanging(company.clock)
    await company.connect(OTHER, "service", hanging)
    company.supervisor = company.make_supervisor(patience_seconds=0.1)
    await company.wait_for_lists(company.own, 2)
    assert hanging.asked.count("token") <= 1, "it is not asked a second time meanwhile"
    hanging.door.set()
    async with asyncio.timeout(60):
        await until(lambda: "create" in hanging.asked)


async def test_a_change_of_access_during_a_turn_is_applied_right_after_it(
    company: Supervised,
) -> None:
    """Missing account-wide access is often discovered while a subscription to the account is created."""
    ana = Hanging(company.clock)
    await company.connect(OTHER, "ana", ana)
    company.supervisor = company.make_supervisor(patience_seconds=0.1)
    await company.supervisor.step()
    await company.connect(OTHER, "ana", ana, limited_to(ANA))
    await company.supervisor.step()
    ana.door.set()
    async with asyncio.timeout(60):
        await until(lambda: "create" in ana.asked)
        while "update" not in ana.asked:
            await company.supervisor.step()
            await asyncio.sleep(0.01)
    assert [row["eventFilters"] for row in ana.subscriptions] == [OF_EXTENSION]


async def test_the_supervisor_sleeps_while_an_account_hangs(company: Supervised) -> None:
    await company.connect(OTHER, "service", Hanging(company.clock))
    company.supervisor = company.make_supervisor(patience_seconds=0.1)
    async with asyncio.timeout(60):
        pauses = [await company.supervisor.step() for _ in range(5)]
    assert (pauses[-1] or 0.0) > 0.0


async def test_urgency_does_not_shorten_the_pauses_after_failures(company: Supervised) -> None:
    await company.supervisor.step()
    await company.remind()
    company.own.failure = RingCentralUnreachable("no answer")
    await company.supervisor.step()
    asked = len(company.own.asked)
    await company.supervisor.step()
    assert len(company.own.asked) == asked
    company.clock.advance(2)
    await company.supervisor.step()
    assert company.own.asked[-1] == "renew"


async def test_a_turn_that_the_database_ended_is_repeated_soon(
    company: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(SubscriptionKeeper, "step", away)
        pause = await company.supervisor.step()
    assert pause == 1.0
    company.clock.advance(pause)
    await company.supervisor.step()
    assert "create" in company.own.asked


async def test_a_long_turn_that_the_database_ended_is_repeated_soon(company: Supervised) -> None:
    hanging = Hanging(company.clock)
    hanging.failures["list"] = StorageUnavailable("away")
    await company.connect(OTHER, "service", hanging)
    company.supervisor = company.make_supervisor(patience_seconds=0.1)
    await company.supervisor.step()
    hanging.door.set()
    async with asyncio.timeout(60):
        await until(lambda: "list" in hanging.asked)
        while "create" not in hanging.asked:
            await company.supervisor.step()
            company.clock.advance(0.1)
            await asyncio.sleep(0.01)


def limited_to(extension_id: ExtensionId, **rights: Any) -> Access:
    return Access(Level.EXTENSION, extension_id, **rights)


async def test_an_extensions_subscription_is_kept_while_account_wide_access_is_only_probed(
    company: Supervised,
) -> None:
    """RingCentral grants some of the filters: without the account's filter nothing would be delivered."""
    access = limited_to(ANA, probe_at=company.clock.now() + timedelta(seconds=3600))
    ana = await company.connect(OTHER, "ana", access=access)
    ben = await company.connect(OTHER, "ben", access=limited_to(BEN))
    await company.supervisor.step()
    company.clock.advance(3601)
    await company.supervisor.step()
    assert "update" not in ana.asked
    assert ana.filters == OF_EXTENSION
    assert ben.asked.count("list") == 2, "another keeper does not depend on it"


async def test_a_connection_with_working_credentials_owns_the_subscription(company: Supervised) -> None:
    problem = {"code": "CMN-401", "detail": "no"}
    await company.connect(OTHER, "a", access=Access(problem=problem))
    second = await company.connect(OTHER, "b")
    await company.supervisor.step()
    assert "create" in second.asked


async def test_users_keep_their_own_while_the_company_wide_connection_has_a_problem(
    company: Supervised,
) -> None:
    await company.connect(OTHER, "service", access=Access(problem={"code": "CMN-401", "detail": "no"}))
    ana = await company.connect(OTHER, "ana", access=limited_to(ANA))
    await company.supervisor.step()
    assert ana.filters == OF_EXTENSION


async def test_a_users_own_is_deleted_once_one_covers_the_account(company: Supervised) -> None:
    ana = await company.connect(OTHER, "ana", access=limited_to(ANA))
    await company.supervisor.step()
    service = await company.connect(OTHER, "service")
    service.create_failure = RequestRefused("not reachable", status=400, code="SUB-521")
    company.clock.advance(10)
    await company.supervisor.step()
    assert len(ana.subscriptions) == 1, "as long as nothing has replaced it"
    company.clock.advance(180)
    await company.supervisor.step()
    ana.failure = RingCentralUnreachable("no answer")
    for _ in range(3):
        await company.supervisor.step()
    assert len(ana.subscriptions) == 1
    company.clock.advance(180)
    await company.supervisor.step()
    assert ana.subscriptions == []
    assert await company.kept() == {OWN, (OTHER, "service")}
    asked = len(ana.asked)
    company.clock.advance(180)
    await company.supervisor.step()
    assert len(ana.asked) == asked


async def test_problems_of_a_removed_user_are_forgotten(company: Supervised) -> None:
    ana = await company.connect(OTHER, "ana", access=limited_to(ANA))
    await company.supervisor.step()
    company.clock.advance(180)
    ana.failure = RequestRefused("no", status=400, code="SUB-521")
    await company.supervisor.step()
    async with company.database.write() as db:
        await remove(db, OTHER, "ana")
    company.connections.forget()
    company.clock.advance(180)
    await company.supervisor.step()
    assert await company.kept() == {OWN}
    async with company.database.read() as db:
        problems = [
            row.account_id for row in await db.execute(select(work)) if (row.state or {}).get("problem")
        ]
    assert problems == []


async def test_stored_subscriptions_are_kept_while_credentials_cannot_be_read(
    company: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    await company.connect(OTHER, "service")
    await company.supervisor.step()
    monkeypatch.setattr(company.connections, "_connect", lambda *_: None)
    await company.supervisor.step()
    assert await company.kept() == {OWN, (OTHER, "service")}
