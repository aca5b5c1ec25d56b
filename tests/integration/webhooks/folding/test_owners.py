"""Whose account events belong to, when several are served."""

from app.calls import accounts
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.factories import ACCOUNT, inbound_answered, received_at
from tests.integration.webhooks.conftest import Intake


async def resolved(intake: Intake) -> str:
    async with intake.database.read() as db:
        return await accounts.resolve(db, UNBOUND_ACCOUNT)


async def test_the_first_account_whose_events_come_is_the_services_own(intake: Intake) -> None:
    told = inbound_answered()
    intake.clock.set(received_at(told[0]))
    await intake.fold(told[:1])
    assert await resolved(intake) == str(ACCOUNT)


async def test_an_account_that_somebody_added_is_not_taken_for_the_services_own(intake: Intake) -> None:
    told = inbound_answered()
    intake.clock.set(received_at(told[0]))
    async with intake.database.write() as db:
        await accounts.add(db, AccountId(str(ACCOUNT)), intake.clock.now())
    await intake.fold(told[:1])
    assert await resolved(intake) == UNBOUND_ACCOUNT
    (call,) = await intake.calls()
    assert call.account_id == str(ACCOUNT)
