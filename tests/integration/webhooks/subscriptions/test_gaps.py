"""The consequences of a gap: calls that seem to continue and events that come late, on both databases."""

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.model import Call, Source
from app.db.tables import calls, credentials, subscriptions, sweeps
from app.enrichment import gaps
from app.enrichment.gaps import Reason
from app.enrichment.records.apply import apply_records, store_versions
from app.enrichment.records.call_update import open_unknown_call
from app.enrichment.records.plan import CallLogPlan
from app.errors import (
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralUnreachable,
)
from app.ids import UNBOUND_ACCOUNT, AccountId, CallId
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories import ACCOUNT, SESSION, TELEPHONY_SESSION, inbound_answered, received_at
from tests.factories_calls import raw_record
from tests.fakes.clock import START
from tests.integration.webhooks.conftest import Intake

PLAN = CallLogPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0)


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


async def test_a_call_whose_end_was_lost_in_a_gap_is_looked_up_and_ended(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[1]))
    await intake.fold(payloads[:2])
    intake.clock.advance(600)
    await note_gap(intake, 590)
    await intake.ends.step()
    (call,) = await intake.calls()
    assert call.stage == "ended"
    assert await asked_at(intake) == intake.clock.now()
    asked = len(intake.ringcentral.asked)
    await intake.ends.step()
    assert len(intake.ringcentral.asked) == asked


async def test_a_call_that_outlasts_the_gap_stays_live(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[1]))
    await intake.fold(payloads[:2])
    intake.ringcentral.sessions = {TELEPHONY_SESSION}
    intake.clock.advance(600)
    await note_gap(intake, 590)
    await intake.ends.step()
    (call,) = await intake.calls()
    assert call.stage == "live"


async def test_a_failed_look_up_is_repeated_later(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[1]))
    await intake.fold(payloads[:2])
    intake.clock.advance(600)
    await note_gap(intake, 590)
    intake.ringcentral.failure = RingCentralUnreachable("away")
    await intake.ends.step()
    assert await asked_at(intake) is None
    await intake.pass_time(31)
    (call,) = await intake.calls()
    assert call.stage == "ended"


async def live_call(intake: Intake, *, gap_seconds: float = 590) -> list[dict[str, Any]]:
    """Play a live call, then record a gap that has just ended; return all events of the call."""
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[1]))
    await intake.fold(payloads[:2])
    intake.clock.advance(gap_seconds + 10)
    await note_gap(intake, gap_seconds)
    return payloads


async def settle(intake: Intake, seconds: float) -> Call:
    """Let the end watch run for some time, with its own pauses of 5 to 30 seconds; return the only call."""
    pause: float | None = 5.0
    while seconds > 0:
        pause = min(seconds, 30.0 if pause is None else min(max(pause, 5.0), 30.0))
        seconds -= pause
        pause = await intake.pass_time(pause)
    (call,) = await intake.calls()
    return call


async def change(intake: Intake, **values: Any) -> None:
    async with intake.database.write() as db:
        await db.execute(update(calls).values(**values))


@pytest.mark.parametrize(
    "failure",
    [
        RingCentralUnreachable("away"),
        RateLimited("slow down", retry_at=START + timedelta(minutes=20)),
        CredentialsRefused("no"),
        RequestRefused("what is this?", status=400),
    ],
    ids=["unreachable", "rate limited", "credentials", "refused"],
)
async def test_a_call_is_looked_up_until_there_is_a_response(intake: Intake, failure: Exception) -> None:
    await live_call(intake)
    intake.ringcentral.failure = failure
    await intake.ends.step()
    async with intake.database.write() as db:
        await db.execute(update(credentials).values(refused=None, access=None))
    assert (await settle(intake, 1500)).stage == "ended"
    assert await asked_at(intake) is not None


async def test_a_note_or_a_repeated_event_does_not_discard_the_response(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = await live_call(intake)
    ask = intake.ringcentral.fetch_session

    async def while_it_changes(*names: Any, **rest: Any) -> Any:
        await change(intake, version=calls.c.version + 1)
        await intake.fold([payloads[1] | {"uuid": "again"}])
        return await ask(*names, **rest)

    monkeypatch.setattr(intake.ringcentral, "fetch_session", while_it_changes)
    await intake.ends.step()
    (call,) = await intake.calls()
    assert call.stage == "ended"


async def test_a_response_does_not_end_a_call_with_a_later_event(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = await live_call(intake)
    ask = intake.ringcentral.fetch_session

    async def while_it_goes_on(*names: Any, **rest: Any) -> Any:
        answer = await ask(*names, **rest)
        intake.clock.advance(2)
        later = copy.deepcopy(payloads[1]) | {"uuid": "later", "timestamp": intake.clock.now().isoformat()}
        later["body"]["eventTime"] = intake.clock.now().isoformat()
        later["body"]["sequence"] = 99
        await intake.fold([later])
        intake.ringcentral.sessions = {TELEPHONY_SESSION}
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(intake.ringcentral, "fetch_session", while_it_goes_on)
        await intake.ends.step()
    assert (await settle(intake, 300)).stage == "live"
    assert await asked_at(intake) is not None


async def test_an_event_from_after_the_gap_settles_a_call_without_a_request(intake: Intake) -> None:
    payloads = await live_call(intake)
    later = copy.deepcopy(payloads[1]) | {"uuid": "later"}
    later["body"] |= {"eventTime": (intake.clock.now() + timedelta(seconds=1)).isoformat(), "sequence": 99}
    intake.clock.advance(1)
    await intake.fold([later])
    await settle(intake, 120)
    assert intake.ringcentral.asked == []
    assert await asked_at(intake) is not None


async def test_a_call_is_looked_up_again_after_a_goodbye_since_another_may_be_lost(intake: Intake) -> None:
    payloads = await live_call(intake)
    intake.ringcentral.sessions = {TELEPHONY_SESSION}
    await settle(intake, 60)
    intake.ringcentral.sessions = set()
    goodbye = copy.deepcopy(payloads[1]) | {"uuid": "goodbye"}
    goodbye["body"] |= {"eventTime": intake.clock.now().isoformat(), "sequence": 99}
    for party in goodbye["body"]["parties"]:
        party["id"] += "-other"
        party["status"] = {"code": "Disconnected"}
    await intake.fold([goodbye])
    assert (await settle(intake, 120)).stage == "ended"


async def test_a_call_whose_first_event_comes_after_the_look_ups_is_looked_up(
    intake: Intake,
) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[1]) + timedelta(seconds=600))
    await note_gap(intake, 610)
    await intake.pass_time(60)
    await intake.fold([payloads[0]])  # delivered again; the others were not
    assert (await settle(intake, 120)).stage == "ended"


async def test_calls_are_looked_up_periodically_while_a_gap_lasts(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[1]))
    await intake.fold(payloads[:2])
    intake.ringcentral.sessions = {TELEPHONY_SESSION}
    now = intake.clock.now()
    async with intake.database.write() as db:
        await gaps.note_gap(
            db, UNBOUND_ACCOUNT, Reason.MISSING, now, None, now, sweep_after=timedelta(seconds=60)
        )
    assert (await settle(intake, 1200)).stage == "live"
    assert 2 <= len(intake.ringcentral.asked) <= 5
    intake.ringcentral.sessions = set()
    assert (await settle(intake, 600)).stage == "ended"
    assert await asked_at(intake) is None


async def test_many_calls_are_looked_up_although_one_is_refused(intake: Intake) -> None:
    await live_call(intake)
    (one,) = await intake.calls()
    async with intake.database.write() as db, open_ledger(db, one.account_id, intake.clock.now()) as ledger:
        for number in range(120):
            copied = replace(one, call_id=CallId(f"call_{number:03d}"), telephony_session_id=f"s-{number}")
            ledger.open(copied, "call.live")
    ask = intake.ringcentral.fetch_session

    async def refuse_one(name: str, **rest: Any) -> Any:
        if name == TELEPHONY_SESSION:
            raise RequestRefused("never", status=400)
        return await ask(name, **rest)

    intake.ringcentral.fetch_session = refuse_one  # type: ignore[method-assign, assignment]
    for _ in range(12):
        await intake.pass_time(5)
    assert sum(call.stage == "live" for call in await intake.calls()) == 1


async def keep_records(intake: Intake, *rows: dict[str, Any], seconds_ago: float = 0) -> None:
    """Let the Call Log show records of the only call, which is live by its events."""
    (call,) = await intake.calls()
    now = intake.clock.now() - timedelta(seconds=seconds_ago)
    found = [record for row in rows if isinstance(record := read_call_record(row), CallRecord)]
    async with intake.database.write() as db, open_ledger(db, call.account_id, intake.clock.now()) as ledger:
        loaded = (await store.load_by_ids(db, call.account_id, [call.call_id]))[call.call_id]
        await store_versions(ledger, {call.call_id: loaded}, {call.call_id: found}, Source.CALL_LOG, now)


def finished(payloads: list[dict[str, Any]]) -> dict[str, Any]:
    return raw_record(
        startTime=received_at(payloads[0]).isoformat(), duration=60, sessionId=SESSION,
        telephonySessionId=TELEPHONY_SESSION, legs=[],
    )  # fmt: skip


async def test_a_finished_record_ends_a_live_call_through_one_request(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[1]))
    await intake.fold(payloads[:2])
    intake.clock.advance(300)
    await keep_records(intake, finished(payloads))
    assert (await settle(intake, 60)).stage == "ended"
    assert intake.ringcentral.asked == ["telephony session"]


async def test_a_finished_record_of_an_ongoing_call_costs_one_request(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[1]))
    await intake.fold(payloads[:2])
    intake.ringcentral.sessions = {TELEPHONY_SESSION}
    for _ in range(5):
        intake.clock.advance(300)
        await keep_records(intake, finished(payloads))
        await settle(intake, 60)
    (call,) = await intake.calls()
    assert call.stage == "live"
    assert intake.ringcentral.asked == ["telephony session"]


async def test_records_decide_without_permission_to_look_up_sessions(intake: Intake) -> None:
    payloads = await live_call(intake)
    intake.ringcentral.failures["telephony session"] = PermissionMissing("no", permission="CallControl")
    intake.ringcentral.log = [finished(payloads)]
    assert (await settle(intake, 300)).stage == "ended"
    assert intake.ringcentral.asked.count("telephony session") == 1
    assert intake.ringcentral.asked.count(f"session {SESSION}") == 1


async def test_a_late_event_does_not_revive_a_call_that_ringcentral_says_is_over(intake: Intake) -> None:
    payloads = await live_call(intake)
    assert (await settle(intake, 30)).stage == "ended"
    late = copy.deepcopy(payloads[1]) | {"uuid": "late"}
    await intake.fold([late])
    call = await settle(intake, 60)
    assert call.stage == "ended"
    assert "call.revived" not in await intake.events(call)


async def test_late_events_are_folded_into_the_call_that_the_sweep_found(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[-1]) + timedelta(seconds=300))
    record = read_call_record(
        raw_record(
            startTime=received_at(payloads[0]).isoformat(),
            sessionId=SESSION,
            telephonySessionId=TELEPHONY_SESSION,
            legs=[],
        )
    )
    assert isinstance(record, CallRecord)
    account = AccountId(ACCOUNT)
    now = intake.clock.now()
    async with intake.database.write() as db, open_ledger(db, account, now) as ledger:
        unknown = open_unknown_call(ledger, TELEPHONY_SESSION, [record], Source.SWEEP)
        await ledger.flush()
        await apply_records(
            ledger, {unknown.call_id: unknown}, {unknown.call_id: [record]}, Source.CALL_LOG, now, PLAN
        )
    await intake.fold(payloads)
    await intake.pass_time(5)
    (call,) = await intake.calls()
    assert (call.call_id, call.source, call.stage) == (unknown.call_id, "sweep", "reconciled")
    assert len(call.parties) == 2
    assert call.details["talkSeconds"] is not None


async def test_a_reminder_makes_the_subscription_due_for_renewal(intake: Intake) -> None:
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
