"""The account that events belong to, when several are served."""

from app.calls import accounts
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.factories import ACCOUNT, inbound_answered, received_at
from tests.integration.webhooks.conftest import Intake


async def resolved(intake: Intake) -> str:
    async with intake.database.read() as db:
        return await accounts.resolve(db, UNBOUND_ACCOUNT)


async def test_the_first_account_with_events_is_the_services_own(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[0]))
    await intake.fold(payloads[:1])
    assert await resolved(intake) == str(ACCOUNT)


async def test_an_account_added_by_an_operator_is_not_the_services_own(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[0]))
    async with intake.database.write() as db:
        await accounts.add(db, AccountId(str(ACCOUNT)), intake.clock.now())
    await intake.fold(payloads[:1])
    assert await resolved(intake) == UNBOUND_ACCOUNT
    (call,) = await intake.calls()
    assert call.account_id == str(ACCOUNT)
