"""Related calls are linked in any order of arrival, on both databases."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.api.dependencies import Services
from app.calls.ledger import open_ledger
from app.calls.model import Call, Source
from app.db.engine import Database
from app.db.tables import call_links, deliveries
from app.enrichment.records.apply import apply_records
from app.enrichment.records.call_update import open_unknown_call
from app.enrichment.records.plan import CallLogPlan
from app.ids import AccountId
from app.ringcentral.models import CallRecord, read_call_record
from tests.conftest import build_app, open_client
from tests.factories import (
    ACCOUNT,
    CONFERENCE,
    CONSULTATION,
    RING_OUT_SECOND,
    SESSION,
    TELEPHONY_SESSION,
    Tape,
    conference,
    merged_into_conference,
    own_number,
    queue_answered,
    ring_out,
    warm_transfer,
)
from tests.factories_calls import raw_record
from tests.integration.webhooks.conftest import Intake

PLAN = CallLogPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0)


def record(**fields: Any) -> CallRecord:
    found = read_call_record(raw_record(**fields))
    assert isinstance(found, CallRecord)
    return found


async def by_session(intake: Intake) -> dict[str, Call]:
    return {call.telephony_session_id: call for call in await intake.calls()}


def shown(call: Call) -> list[tuple[str, str | None, str | None]]:
    return [(link["kind"], link["telephonySessionId"], link["callId"]) for link in call.related]


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_warm_transfer_is_shown_on_both_calls_in_any_order(intake: Intake, reverse: bool) -> None:
    payloads = warm_transfer()
    first = [one for one in payloads if one["body"]["telephonySessionId"] == TELEPHONY_SESSION]
    second = [one for one in payloads if one not in first]
    for part in (second, first) if reverse else (first, second):
        await intake.fold(part)
    calls = await by_session(intake)
    one, other = calls[TELEPHONY_SESSION], calls[CONSULTATION]
    assert shown(one) == [("attendedTransfer", CONSULTATION, other.call_id)]
    assert shown(other) == [("attendedTransfer", TELEPHONY_SESSION, one.call_id)]
    assert one.conversation_id == other.conversation_id
    assert str(one.conversation_id).startswith("conv_")
    assert "call.linked" in await intake.events(one)
    assert "call.linked" in await intake.events(other)


async def test_a_link_to_an_unknown_call_is_completed_when_the_call_arrives(intake: Intake) -> None:
    await intake.fold(merged_into_conference())
    (call,) = await intake.calls()
    assert shown(call) == [("conference", CONFERENCE, None)]

    await intake.fold(conference())
    calls = await by_session(intake)
    room, after = calls[CONFERENCE], calls[TELEPHONY_SESSION]
    assert shown(after) == [("conference", CONFERENCE, room.call_id)]
    assert shown(room) == [("conference", TELEPHONY_SESSION, after.call_id)]
    assert room.related[0]["sessionId"] == SESSION
    assert after.version > call.version
    assert room.session_id is None


@pytest.mark.parametrize("reverse", [False, True])
async def test_the_two_phones_of_a_ring_out_are_related(intake: Intake, reverse: bool) -> None:
    payloads = ring_out()
    await intake.fold(payloads[:1] if reverse else payloads)
    await intake.fold(reversed(payloads) if reverse else payloads)
    calls = await by_session(intake)
    one, other = calls[TELEPHONY_SESSION], calls[RING_OUT_SECOND]
    assert shown(one) == [("ringOut", RING_OUT_SECOND, other.call_id)]
    assert shown(other) == [("ringOut", TELEPHONY_SESSION, one.call_id)]


async def test_two_ring_outs_far_apart_are_not_related(intake: Intake) -> None:
    await intake.fold(ring_out()[:6])
    later = Tape("1229099999016", "s-far", "RingOut", Tape().start + timedelta(minutes=30))
    later.ana_dials()
    await intake.fold(later.deliveries)
    assert [call.related for call in await intake.calls()] == [[], []]


@pytest.mark.parametrize("reason", ["Pickup", "Supervising"])
async def test_a_leg_of_another_session_links_that_session(intake: Intake, reason: str) -> None:
    call, elsewhere = Tape(), Tape("1229016200016", "s-elsewhere")
    call.ana_answers()
    peer = {"sessionId": "1229016200016", "telephonySessionId": "s-elsewhere", "partyId": "p-elsewhere-1"}
    call.says(30.0, 1, "Gone", reason=reason, status={"peerId": peer})
    elsewhere.ana_dials()
    await intake.fold(call.deliveries + elsewhere.deliveries)
    calls = await by_session(intake)
    assert shown(calls[TELEPHONY_SESSION]) == [(reason.lower(), "s-elsewhere", calls["s-elsewhere"].call_id)]
    assert shown(calls["s-elsewhere"]) == [
        (reason.lower(), TELEPHONY_SESSION, calls[TELEPHONY_SESSION].call_id)
    ]


async def test_three_sessions_in_a_row_are_one_conversation(intake: Intake) -> None:
    await intake.fold(warm_transfer())
    middle = Tape("1229016184016", CONSULTATION)
    peer = {"sessionId": "0", "telephonySessionId": CONFERENCE, "partyId": "p-x"}
    middle.deliveries.extend([{}] * 20)
    middle.says(90.0, 2, "Gone", reason="Conference", status={"peerId": peer})
    await intake.fold(middle.deliveries[20:] + conference())
    calls = await by_session(intake)
    assert len(calls[CONSULTATION].related) == 2
    assert len({call.conversation_id for call in calls.values()}) == 1
    assert len(calls[TELEPHONY_SESSION].related) == 1


async def test_folding_again_adds_no_links(intake: Intake) -> None:
    await intake.fold(warm_transfer())
    before = {call.call_id: call.version for call in await intake.calls()}
    async with intake.database.write() as db:
        await db.execute(deliveries.update().values(folded_at=None))
    await intake.fold()
    assert {call.call_id: call.version for call in await intake.calls()} == before


async def read(intake: Intake, records: dict[str, list[CallRecord]]) -> None:
    """Read records by session and open the calls that are unknown."""
    now = intake.clock.now()
    account = AccountId(ACCOUNT)
    async with intake.database.write() as db, open_ledger(db, account, now) as ledger:
        known = {
            call.telephony_session_id: call
            for call in await intake.calls()
            if call.telephony_session_id in records
        }
        calls, found = {}, {}
        for key, rows in records.items():
            call = known.get(key) or open_unknown_call(ledger, key, rows, Source.CALL_LOG)
            calls[str(call.call_id)], found[str(call.call_id)] = call, rows
        await ledger.flush()
        await apply_records(ledger, calls, found, Source.CALL_LOG, now, PLAN)


@pytest.mark.parametrize("field", ["transferTarget", "transferee"])
@pytest.mark.parametrize("reverse", [False, True])
async def test_a_transfer_that_only_the_call_log_shows_is_linked(
    intake: Intake, account: AccountId, field: str, reverse: bool
) -> None:
    one = {
        "s-one": [
            record(
                record_id="R1",
                sessionId="1",
                telephonySessionId="s-one",
                **{field: {"telephonySessionId": "s-two"}},
            )
        ]
    }
    two = {"s-two": [record(record_id="R2", sessionId="2", telephonySessionId="s-two")]}
    for rows in (two, one) if reverse else (one, two):
        await read(intake, rows)
    calls = await by_session(intake)
    assert shown(calls["s-one"]) == [("attendedTransfer", "s-two", calls["s-two"].call_id)]
    assert shown(calls["s-two"]) == [("attendedTransfer", "s-one", calls["s-one"].call_id)]


async def test_a_ring_out_that_only_the_call_log_shows_is_linked(intake: Intake, account: AccountId) -> None:
    web = {"action": "RingOut Web"}
    await read(
        intake,
        {
            "s-one": [record(record_id="R1", sessionId="1229016182016", telephonySessionId="s-one", **web)],
            "s-two": [record(record_id="R2", sessionId="1229016183016", telephonySessionId="s-two", **web)],
        },
    )
    calls = await by_session(intake)
    assert shown(calls["s-one"]) == [("ringOut", "s-two", calls["s-two"].call_id)]


async def test_reading_the_same_records_again_changes_no_version(intake: Intake, account: AccountId) -> None:
    rows = {
        "s-one": [
            record(record_id="R1", telephonySessionId="s-one", transferTarget={"telephonySessionId": "s-two"})
        ]
    }
    await read(intake, rows)
    before = [call.version for call in await intake.calls()]
    await read(intake, rows)
    assert [call.version for call in await intake.calls()] == before
    async with intake.database.read() as db:
        assert len((await db.execute(select(call_links))).all()) == 1


async def test_a_queue_call_is_one_call_without_related_calls(intake: Intake) -> None:
    await intake.play(queue_answered())
    rows = [
        record(record_id=f"R{number}", telephonySessionId=TELEPHONY_SESSION, result=result)
        for number, result in enumerate(("Accepted", "Missed", "Missed"))
    ]
    await read(intake, {TELEPHONY_SESSION: rows})
    (call,) = await intake.calls()
    assert (call.outcome, call.related, call.conversation_id) == ("answered", [], None)


async def test_own_number_calls_of_two_sessions_are_two_calls_and_their_session_id_is_ambiguous(
    intake: Intake, services: Services, database: Database, api_key: str
) -> None:
    again = own_number()
    for payload in again:
        payload["uuid"] = f"again-{payload['uuid']}"
        payload["body"]["telephonySessionId"] = "s-own-second"
    await intake.play(own_number() + again)
    calls = await intake.calls()
    assert len(calls) == 2
    assert {call.session_id for call in calls} == {SESSION}
    async with open_client(build_app(services), api_key) as client:
        answer: httpx.Response = await client.get(f"/v1/calls/{SESSION}")
        assert answer.status_code == 409
        assert set(answer.json()["candidates"]) == {call.call_id for call in calls}
