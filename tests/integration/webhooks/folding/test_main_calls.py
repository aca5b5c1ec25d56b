"""Of calls that events or records link, the customer's is the main one, in any order of arrival."""

from typing import Any

import pytest
from sqlalchemy import update

from app.calls.model import Call
from app.db.tables import calls
from app.ids import AccountId
from app.webhooks.replay import replay_calls
from tests.factories import (
    ACCOUNT,
    CONFERENCE,
    CONSULTATION,
    RING_OUT_SECOND,
    TELEPHONY_SESSION,
    Tape,
    conference,
    merged_into_conference,
    ring_out,
    warm_transfer,
)
from tests.integration.webhooks.conftest import Intake
from tests.integration.webhooks.folding.test_links import by_session, read, record

Payloads = list[dict[str, Any]]


def split(payloads: Payloads, first: str) -> tuple[Payloads, Payloads]:
    ours = [one for one in payloads if one["body"]["telephonySessionId"] == first]
    return ours, [one for one in payloads if one not in ours]


def supervised() -> Payloads:
    """Ben's own session leaves to supervise Ana's call with Dana."""
    call, own = Tape(), Tape("1229016200016", "s-supervisor")
    call.ana_answers()
    own.ana_dials("*80")
    peer = {"sessionId": call.session_id, "telephonySessionId": TELEPHONY_SESSION, "partyId": "p-3"}
    own.says(30.0, 1, "Gone", reason="Supervising", status={"peerId": peer})
    return call.deliveries + own.deliveries


def picked_up() -> Payloads:
    """Ben picks up Dana's parked call from a session of his own."""
    call, own = Tape(), Tape("1229016200016", "s-pickup")
    call.ana_answers()
    peer = {"sessionId": "1229016200016", "telephonySessionId": "s-pickup", "partyId": "p-pickup-2"}
    call.says(30.0, 1, "Gone", reason="Pickup", status={"peerId": peer})
    own.ana_dials("*801")
    return call.deliveries + own.deliveries


CASES: dict[str, tuple[Payloads, str, str]] = {
    "warm transfer": (warm_transfer(), TELEPHONY_SESSION, CONSULTATION),
    "ring out": (ring_out(), RING_OUT_SECOND, TELEPHONY_SESSION),
    "conference": (merged_into_conference() + conference(), TELEPHONY_SESSION, CONFERENCE),
    "supervised": (supervised(), TELEPHONY_SESSION, "s-supervisor"),
    "picked up elsewhere": (picked_up(), TELEPHONY_SESSION, "s-pickup"),
}


def check(calls: dict[str, Call], main: str, other: str) -> None:
    assert calls[main].main_call_id is None
    assert calls[other].main_call_id == calls[main].call_id
    assert calls[main].conversation_id == calls[other].conversation_id is not None


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("order", ["together", "main first", "main last"])
async def test_the_customers_call_is_the_main_one(intake: Intake, case: str, order: str) -> None:
    payloads, main, other = CASES[case]
    ours, others = split(payloads, main)
    for part in {"together": [payloads], "main first": [ours, others], "main last": [others, ours]}[order]:
        await intake.fold(part)
    check(await by_session(intake), main, other)


async def test_events_that_are_folded_again_change_no_main_call(intake: Intake) -> None:
    await intake.fold(warm_transfer())
    before = {call.call_id: (call.version, call.main_call_id) for call in await intake.calls()}
    await intake.pass_time(60)
    await intake.fold(warm_transfer())
    after = {call.call_id: call.main_call_id for call in await intake.calls()}
    assert after == {call_id: main for call_id, (_, main) in before.items()}


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_transfer_that_a_sweep_finds_has_its_main_call(
    intake: Intake, account: AccountId, reverse: bool
) -> None:
    customer = record(
        record_id="R1",
        sessionId="1",
        telephonySessionId="s-one",
        transferTarget={"telephonySessionId": "s-two"},
    )
    consultation = record(
        record_id="R2",
        sessionId="2",
        telephonySessionId="s-two",
        startTime="2026-03-10T18:08:20.000Z",
        direction="Outbound",
        result="Call connected",
        **{"from": {"extensionNumber": "101", "name": "Ana Ruiz"}, "to": {"extensionNumber": "102"}},
    )
    found = [{"s-one": [customer]}, {"s-two": [consultation]}]
    for rows in reversed(found) if reverse else found:
        await read(intake, rows)
    check(await by_session(intake), "s-one", "s-two")


async def test_a_link_that_only_records_tell_comes_late(intake: Intake, account: AccountId) -> None:
    payloads = warm_transfer()
    first, second = split(payloads, TELEPHONY_SESSION)
    # The last events, which name the other session, are lost.
    told = [one for one in first + second if "peerId" not in str(one)]
    await intake.play(told)
    alone = await by_session(intake)
    assert {call.main_call_id for call in alone.values()} == {None}
    await intake.pass_time(60)
    row = record(
        record_id="R1",
        telephonySessionId=TELEPHONY_SESSION,
        transferTarget={"telephonySessionId": CONSULTATION},
    )
    await read(intake, {TELEPHONY_SESSION: [row]})
    check(await by_session(intake), TELEPHONY_SESSION, CONSULTATION)


async def test_a_replay_chooses_the_main_call_of_calls_that_are_right_otherwise(intake: Intake) -> None:
    await intake.fold(warm_transfer())
    async with intake.database.write() as db:
        await db.execute(update(calls).values(main_call_id=None))
    report = await replay_calls(intake.database, intake.clock, AccountId(ACCOUNT), write=False)
    assert {call.main_call_id for call in await intake.calls()} == {None}
    assert report.same == report.calls == 2
    await replay_calls(intake.database, intake.clock, AccountId(ACCOUNT))
    check(await by_session(intake), TELEPHONY_SESSION, CONSULTATION)
