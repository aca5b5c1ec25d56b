"""The subscriptions of many accounts and users side by side, on both databases."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db.engine import Database
from app.db.tables import subscriptions
from app.errors import RingCentralUnreachable, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.models import Subscription
from app.webhooks.subscription import SubscriptionKeeper, Wanted
from app.webhooks.subscription_guard import SubscriptionGuard
from tests.conftest import until
from tests.fakes.clock import FakeClock
from tests.fakes.ringcentral import FakeRingCentral
from tests.integration.enrichment.test_accounts import OTHER, Company

ADDRESS = "https://crm-hook.example.com/webhooks/ringcentral"
FILTERS = ("/restapi/v1.0/account/~/telephony/sessions",)
WANTED = Wanted(address=ADDRESS, filters=FILTERS, token="9b1d-example", expires_in_seconds=604_800)
OWN = (UNBOUND_ACCOUNT, "own")


class Hanging(FakeRingCentral):
    """Answers when the test opens the door."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.door = asyncio.Event()

    async def list_subscriptions(self, **given: Any) -> tuple[Subscription, ...]:
        await self.door.wait()
        return await super().list_subscriptions(**given)


class Guarded(Company):
    """Some accounts and the guard of their subscriptions."""

    def __init__(self, database: Database, clock: FakeClock, settings: Any) -> None:
        super().__init__(database, clock, settings)
        self.own = FakeRingCentral(clock)
        self.connections.behind[OWN] = self.own
        self.guard = SubscriptionGuard(
            database, clock, self.connections, WANTED,
            replica="one", check_seconds=180.0, lease_seconds=15.0, sweep_after_seconds=60.0, patience_seconds=0.3,
        )  # fmt: skip

    async def look(self, ringcentral: FakeRingCentral, count: int) -> None:
        """Step until RingCentral was asked for so many lists."""
        async with asyncio.timeout(20):
            while ringcentral.asked.count("list") < count:
                await self.guard.step()

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
    guarded = Guarded(database, clock, settings)
    yield guarded
    await guarded.guard.close()


async def test_an_account_whose_ringcentral_hangs_delays_no_other(company: Guarded) -> None:
    hanging = Hanging(company.clock)
    await company.connect(OTHER, "service", hanging)
    await company.guard.step()
    async with asyncio.timeout(20):
        await until(lambda: "create" in company.own.asked)
    company.clock.advance(180)
    await company.look(company.own, 2)
    assert hanging.asked == ["token"], "nor is it asked a second time meanwhile"
    hanging.door.set()
    async with asyncio.timeout(20):
        await until(lambda: "create" in hanging.asked)


async def test_while_an_account_hangs_the_guard_sleeps(company: Guarded) -> None:
    await company.connect(OTHER, "service", Hanging(company.clock))
    async with asyncio.timeout(20):
        pauses = [await company.guard.step() for _ in range(5)]
    assert (pauses[-1] or 0.0) > 0.0


async def test_haste_does_not_shorten_the_pauses_of_one_that_fails(company: Guarded) -> None:
    await company.guard.step()
    await company.remind()
    company.own.failure = RingCentralUnreachable("no answer")
    await company.guard.step()
    asked = len(company.own.asked)
    await company.guard.step()
    assert len(company.own.asked) == asked
    company.clock.advance(2)
    await company.guard.step()
    assert company.own.asked[-1] == "renew"


async def test_one_whose_turn_the_database_ended_has_it_again_at_once(
    company: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(SubscriptionKeeper, "step", away)
        with pytest.raises(StorageUnavailable):
            await company.guard.step()
    await company.guard.step()
    assert "create" in company.own.asked
