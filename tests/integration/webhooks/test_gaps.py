"""What a gap of the deliveries leaves behind: calls that seem to go on, events that come late. On both databases."""

from datetime import timedelta

from sqlalchemy import select

from app.calls.ledger import open_ledger
from app.calls.model import Source
from app.db.tables import subscriptions, sweeps
from app.enrichment import gaps
from app.enrichment.gaps import Reason
from app.enrichment.records import ReadingPlan, apply_readings, open_stranger
from app.errors import RingCentralUnreachable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories import ACCOUNT, SESSION, TELEPHONY_SESSION, inbound_answered, received_at
from tests.factories_calls import raw_record
from tests.integration.webhooks.conftest import Intake

PLAN = ReadingPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0)


async def note_gap(intake: Intake, seconds: float) -> None:
    now = intake.clock.now()
    async with intake.database.write() as db:
        await gaps.note_gap(
            db, UNBOUND_ACCOUNT, Reason.SERVICE_DOWN, now - timedelta(seconds=seconds), now, now,
            sweep_after=timedelta(seconds=60),
        )  # fmt: skip


async def asked_at(intake: Intake) -> object:
    async with intake.database.read() as db:
        return await db.scalar(select(sweeps.c.asked_at))


async def test_a_call_whose_end_was_lost_in_a_gap_is_asked_after_and_ended(intake: Intake) -> None:
    told = inbound_answered()
    intake.clock.set(received_at(told[1]))
    await intake.fold(told[:2])
    intake.clock.advance(600)
    await note_gap(intake, 590)
    await intake.ends.step()
    (call,) = await intake.calls()
    assert call.stage == "ended"
    assert await asked_at(intake) == intake.clock.now()
    asked = len(intake.ringcentral.asked)
    await intake.ends.step()
    assert len(intake.ringcentral.asked) == asked


async def test_a_call_that_outlasted_the_gap_goes_on(intake: Intake) -> None:
    told = inbound_answered()
    intake.clock.set(received_at(told[1]))
    await intake.fold(told[:2])
    intake.ringcentral.sessions = {TELEPHONY_SESSION}
    intake.clock.advance(600)
    await note_gap(intake, 590)
    await intake.ends.step()
    (call,) = await intake.calls()
    assert call.stage == "live"


async def test_what_cannot_be_asked_now_is_asked_later(intake: Intake) -> None:
    told = inbound_answered()
    intake.clock.set(received_at(told[1]))
    await intake.fold(told[:2])
    intake.clock.advance(600)
    await note_gap(intake, 590)
    intake.ringcentral.failure = RingCentralUnreachable("away")
    await intake.ends.step()
    assert await asked_at(intake) is None
    await intake.pass_time(31)
    (call,) = await intake.calls()
    assert call.stage == "ended"


async def test_late_events_fold_into_the_call_that_the_sweep_found(intake: Intake) -> None:
    told = inbound_answered()
    intake.clock.set(received_at(told[-1]) + timedelta(seconds=300))
    record = read_call_record(
        raw_record(
            startTime=received_at(told[0]).isoformat(),
            sessionId=SESSION,
            telephonySessionId=TELEPHONY_SESSION,
            legs=[],
        )
    )
    assert isinstance(record, CallRecord)
    account = AccountId(ACCOUNT)
    now = intake.clock.now()
    async with intake.database.write() as db, open_ledger(db, account, now) as ledger:
        stranger = open_stranger(ledger, TELEPHONY_SESSION, [record], Source.SWEEP)
        await ledger.flush()
        await apply_readings(
            ledger, {stranger.call_id: stranger}, {stranger.call_id: [record]}, Source.CALL_LOG, now, PLAN
        )
    await intake.fold(told)
    await intake.pass_time(5)
    (call,) = await intake.calls()
    assert (call.call_id, call.source, call.stage) == (stranger.call_id, "sweep", "reconciled")
    assert len(call.parties) == 2
    assert call.details["talkSeconds"] is not None


async def test_a_reminder_lets_the_subscription_be_renewed_at_once(intake: Intake) -> None:
    async with intake.database.write() as db:
        await db.execute(
            subscriptions.insert().values(
                account_id="~", subscription_id="sub-1", address="a", filters=[], status="Active",
                checked_at=intake.clock.now(), renew_at=intake.clock.now() + timedelta(days=3),
            )
        )  # fmt: skip
    payload = {
        "uuid": "u-1",
        "event": "/restapi/v1.0/subscription/sub-1?threshold=60&interval=15",
        "timestamp": "2026-03-10T18:07:41.000Z",
        "subscriptionId": "sub-1",
        "body": {"id": "sub-1", "expiresIn": 60},
    }
    await intake.fold([payload])
    async with intake.database.read() as db:
        assert await db.scalar(select(subscriptions.c.renew_at)) == intake.clock.now()
