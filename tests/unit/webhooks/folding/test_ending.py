"""When a call is over, with a quiet period of 3 s and 30 s for hand-overs."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from app.calls.evidence.call_view import CallView
from app.calls.evidence.facts import SessionFacts
from app.calls.evidence.parties import read_parties
from app.webhooks.folding.ending import (
    ALL_LEFT,
    FAR_SIDE_LEFT,
    NOT_TAKEN,
    STALE_SECONDS,
    EndingAt,
    Live,
    NotACall,
    Over,
    Verdict,
    judge_end,
)
from app.webhooks.payloads.notification import PresenceEvent, TelephonyEvent, read_notification
from tests.factories import (
    ANA,
    ANA_NUMBER,
    BEN,
    CONFERENCE,
    CONSULTATION,
    NOON,
    QUEUE,
    RING_OUT_SECOND,
    SCRIPTS,
    TELEPHONY_SESSION,
    Json,
    Tape,
    active_call,
    inbound_answered,
    party_id,
    presence,
    received_at,
)

QUIET = 3.0
HANDOVER = 30.0


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def view_of(deliveries: Iterable[Json], telephony_session_id: str = TELEPHONY_SESSION) -> CallView:
    facts = SessionFacts()
    for payload in deliveries:
        event = read_notification(payload, received_at(payload))
        assert isinstance(event, TelephonyEvent | PresenceEvent)
        for call in event.calls:
            if call.key.telephony_session_id == telephony_session_id:
                facts = facts.union(call.facts)
    return read_parties(facts)


def judge(
    deliveries: Iterable[Json], silence: float, telephony_session_id: str = TELEPHONY_SESSION
) -> Verdict:
    """Judge `silence` seconds after the last arrival."""
    view = view_of(deliveries, telephony_session_id)
    assert view.last_news_at is not None
    return judge_end(view, view.last_news_at + timedelta(seconds=silence), QUIET, HANDOVER)


SESSIONS = [
    ("inbound_answered", TELEPHONY_SESSION, 95.740),
    ("inbound_through_menu", TELEPHONY_SESSION, 60.014),
    ("inbound_missed", TELEPHONY_SESSION, 20.01),
    ("voicemail", TELEPHONY_SESSION, 51.999),
    ("outbound_answered", TELEPHONY_SESSION, 48.015),
    ("outbound_busy", TELEPHONY_SESSION, 3.012),
    ("outbound_no_answer", TELEPHONY_SESSION, 40.012),
    ("internal", TELEPHONY_SESSION, 33.012),
    ("own_number", TELEPHONY_SESSION, 14.01),
    ("queue_answered", TELEPHONY_SESSION, 100.702),
    ("queue_abandoned", TELEPHONY_SESSION, 15.012),
    ("blind_transfer", TELEPHONY_SESSION, 121.915),
    ("warm_transfer", TELEPHONY_SESSION, 111.015),
    ("warm_transfer", CONSULTATION, 111.0),
    ("parked_and_picked_up", TELEPHONY_SESSION, 140.01),
    ("parked_and_revived", TELEPHONY_SESSION, 140.01),
    ("conference", CONFERENCE, 90.02),
    ("merged_into_conference", TELEPHONY_SESSION, 30.01),
    ("ring_out", TELEPHONY_SESSION, 40.04),
    ("ring_out", RING_OUT_SECOND, 40.02),
    ("first_seen_disconnected", TELEPHONY_SESSION, 95.740),
    ("presence_only", TELEPHONY_SESSION, 96.089),
    ("both_sources", TELEPHONY_SESSION, 95.740),
]


@pytest.mark.parametrize(("script", "session", "ended"), SESSIONS)
def test_a_call_is_over_once_all_parties_left_and_it_is_quiet(
    script: str, session: str, ended: float
) -> None:
    payloads = SCRIPTS[script]()
    heard_at = view_of(payloads, session).last_news_at
    assert heard_at is not None
    assert judge(payloads, 2.999, session) == EndingAt(heard_at + timedelta(seconds=3), ALL_LEFT)
    assert judge(payloads, 3.0, session) == Over(after(ended), ALL_LEFT)


@pytest.mark.parametrize(
    "script",
    [
        "inbound_answered",
        "inbound_through_menu",
        "outbound_answered",
        "queue_answered",
        "blind_transfer",
        "voicemail",
        "parked_and_picked_up",
        "internal",
    ],
)
def test_a_call_is_live_at_every_step_before_its_last_goodbyes(script: str) -> None:
    payloads = SCRIPTS[script]()
    for length in range(1, len(payloads) - 1):
        assert isinstance(judge(payloads[:length], 60.0), Live), payloads[length - 1]["body"]["parties"]


@pytest.mark.parametrize("origin", ["GreetingsRecording", "VerificationCall", "TestCall", "testcall"])
def test_sessions_that_are_not_calls_are_recognised(origin: str) -> None:
    tape = Tape(origin=origin)
    tape.says(0, 1, "Setup", ANA)
    assert isinstance(judge(tape.deliveries, 0), NotACall)


def test_a_call_without_facts_is_not_over() -> None:
    assert judge_end(read_parties(SessionFacts()), NOON, QUIET, HANDOVER) == Live(
        NOON + timedelta(seconds=STALE_SECONDS), "nothing-known"
    )


def test_a_call_in_progress_asks_to_be_checked_after_long_silence() -> None:
    payloads = inbound_answered()[:5]
    heard_at = received_at(payloads[-1])
    assert judge(payloads, 60) == Live(heard_at + timedelta(seconds=STALE_SECONDS), "parties-alive")
    assert judge(payloads, 9 * STALE_SECONDS) == judge(payloads, 60)


MOVES = [
    "BlindTransfer",
    "RccTransfer",
    "DtmfTransfer",
    "CallerInputRedirect",
    "CallRedirected",
    "CallSwitch",
    "CallFlip",
    "TakeOver",
    "CallPark",
    "ParkLocation",
    "blindtransfer",
]


def handed_on(reason: str, code: str = "Disconnected") -> Tape:
    tape = Tape()
    tape.ana_answers()
    tape.says(40.0, 2, code, ANA, reason=reason)
    return tape


@pytest.mark.parametrize("reason", [*MOVES, "AgentAnswered", "Pickup", "CallFinished"])
def test_a_hand_over_does_not_end_the_call_while_the_caller_is_alive(reason: str) -> None:
    assert isinstance(judge(handed_on(reason).deliveries, 3600), Live)


@pytest.mark.parametrize("reason", MOVES)
def test_a_hand_over_that_nobody_took_waits_longer(reason: str) -> None:
    own_party = handed_on(reason).deliveries[1:]
    payloads = [payload for payload in own_party if payload["body"]["parties"][0]["id"] == party_id(2)]
    assert isinstance(judge(payloads, 32.9), EndingAt)
    assert judge(payloads, 33.0) == Over(after(40.0), NOT_TAKEN)


@pytest.mark.parametrize("reason", MOVES)
def test_a_hand_over_does_not_count_once_the_caller_hangs_up(reason: str) -> None:
    tape = handed_on(reason)
    tape.says(55.0, 1, "Disconnected")
    assert judge(tape.deliveries, 3.0) == Over(after(55.0), ALL_LEFT)


def test_a_hand_over_after_the_callers_goodbye_still_waits() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(39.9, 1, "Disconnected")
    tape.says(40.0, 2, "Disconnected", ANA, reason="CallPark")
    assert isinstance(judge(tape.deliveries, 32.9), EndingAt)
    assert judge(tape.deliveries, 33.0) == Over(after(40.0), NOT_TAKEN)


def test_a_hand_over_that_was_taken_does_not_delay_the_end() -> None:
    payloads = SCRIPTS["blind_transfer"]()
    assert isinstance(judge(payloads, 3.0), Over)


def test_an_outbound_call_that_is_transferred_goes_on_between_the_others() -> None:
    tape = Tape()
    tape.ana_dials()
    tape.says(8.0, 2, "Answered")
    tape.says(8.03, 1, "Answered", ANA)
    tape.says(30.0, 1, "Disconnected", ANA, reason="BlindTransfer")
    assert isinstance(judge(tape.deliveries, 3600), Live)
    tape.says(30.01, 3, "Proceeding", BEN)
    tape.says(33.0, 3, "Answered", BEN)
    assert judge(tape.deliveries, 0).__class__ is Live
    tape.says(50.0, 2, "Disconnected")
    tape.says(50.01, 3, "Disconnected", BEN)
    assert judge(tape.deliveries, 3.0) == Over(after(50.01), ALL_LEFT)


def test_an_outbound_transfer_that_nobody_took_ends_with_the_far_side() -> None:
    tape = Tape()
    tape.ana_dials()
    tape.says(8.0, 2, "Answered")
    tape.says(30.0, 1, "Disconnected", ANA, reason="BlindTransfer")
    tape.says(31.0, 2, "Disconnected")
    assert judge(tape.deliveries, 3.0) == Over(after(31.0), ALL_LEFT)


@pytest.mark.parametrize("reason", ["NoAnswer", "TargetBusy", "Rejected", "Timeout", "Cancelled", "Brandnew"])
def test_a_failed_attempt_does_not_end_the_call_while_the_caller_waits(reason: str) -> None:
    tape = Tape()
    tape.customer_calls(ANA_NUMBER)
    tape.says(0.1, 2, "Proceeding", ANA)
    tape.says(20.0, 2, "Disconnected", ANA, reason=reason)
    assert isinstance(judge(tape.deliveries, 3600), Live)


def test_a_failed_outbound_attempt_does_not_end_the_call_while_the_caller_listens() -> None:
    payloads = SCRIPTS["outbound_busy"]()[:-1]
    assert isinstance(judge(payloads, 3600), Live)


@pytest.mark.parametrize("reason", ["Supervising", "Pickup"])
def test_a_party_that_moves_elsewhere_does_not_end_the_call(reason: str) -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 3, "Answered", BEN)
    tape.says(30.0, 3, "Gone", BEN, reason=reason)
    assert isinstance(judge(tape.deliveries, 3600), Live)
    tape.says(40.0, 2, "Disconnected", ANA)
    tape.says(40.01, 1, "Disconnected")
    assert judge(tape.deliveries, 3.0) == Over(after(40.01), ALL_LEFT)


def test_an_extension_that_sees_only_itself_is_done_when_it_leaves() -> None:
    own = [payload for payload in inbound_answered() if "/extension/" in payload["event"]]
    assert judge(own, 3.0) == Over(after(95.728), ALL_LEFT)


def test_a_parked_call_is_live_until_the_caller_gives_up() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 2, "Parked", ANA)
    assert isinstance(judge(tape.deliveries, 3600), Live)
    tape.says(80.0, 1, "Disconnected")
    assert judge(tape.deliveries, 3.0) == Over(after(80.0), ALL_LEFT)


def test_a_parked_call_that_was_over_is_revived_by_picking_it_up() -> None:
    payloads = SCRIPTS["parked_and_revived"]()
    parked = payloads[:7]
    assert judge(parked, 33.0) == Over(after(20.02), NOT_TAKEN)
    revived = judge(payloads[:8], 0)
    assert isinstance(revived, Live)
    assert revived.why == "picked-up-from-park"


def test_late_news_of_a_party_that_left_revives_nothing() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(40.0, 1, "Disconnected")
    tape.says(40.01, 2, "Disconnected", ANA)
    tape.says(44.0, 2, "Disconnected", ANA, recordings=[{"id": "3019664700", "active": False}])
    assert isinstance(judge(tape.deliveries, 0), EndingAt)
    assert judge(tape.deliveries, 3.0) == Over(after(40.01), ALL_LEFT)


def test_the_callers_goodbye_ends_the_call_though_the_other_one_was_lost() -> None:
    lost = [*inbound_answered()[:-2], inbound_answered()[-1]]
    assert isinstance(judge(lost, 32.9), EndingAt)
    assert judge(lost, 33.0) == Over(after(95.740), FAR_SIDE_LEFT)


def test_ringing_members_whose_goodbyes_were_lost_do_not_keep_an_abandoned_call_going() -> None:
    lost = SCRIPTS["queue_abandoned"]()[:-3]
    assert judge(lost, 33.0) == Over(after(15.0), FAR_SIDE_LEFT)


def test_the_far_sides_goodbye_ends_an_outbound_call_though_the_callers_was_lost() -> None:
    lost = SCRIPTS["outbound_answered"]()[:-1]
    assert isinstance(judge(lost, 32.9), EndingAt)
    assert judge(lost, 33.0) == Over(after(48.0), FAR_SIDE_LEFT)


def test_an_inbound_caller_whose_goodbye_was_lost_keeps_the_call_until_it_is_checked() -> None:
    lost = inbound_answered()[:-1]
    assert isinstance(judge(lost, 3600), Live)


def test_a_caller_who_leaves_a_conference_does_not_end_it() -> None:
    payloads = SCRIPTS["conference"]()[:5]
    assert isinstance(judge(payloads, 3600, CONFERENCE), Live)
    assert isinstance(judge(payloads[:6], 3600, CONFERENCE), Live)


def test_two_who_remain_connected_may_be_talking() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 3, "Answered", BEN)
    tape.says(40.0, 1, "Disconnected")
    assert isinstance(judge(tape.deliveries, 3600), Live)


def test_a_party_with_events_after_the_callers_goodbye_is_alive() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(40.0, 1, "Disconnected")
    tape.says(41.0, 2, "Hold", ANA)
    assert isinstance(judge(tape.deliveries, 3600), Live)


def test_a_menu_reached_from_inside_that_leaves_does_not_end_the_call() -> None:
    tape = Tape()
    tape.says(0, 1, "Setup", ANA)
    tape.says(0.1, 2, "Answered", QUEUE)
    tape.says(0.2, 1, "Answered", ANA)
    tape.says(9.0, 2, "Disconnected", QUEUE)
    assert isinstance(judge(tape.deliveries, 3600), Live)


def test_presence_does_not_end_a_call_whose_other_parties_are_alive() -> None:
    end = presence(active_call("NoCall", final=True), at=after(50))
    assert isinstance(judge([*inbound_answered()[:5], end], 3600), Live)


def test_presence_supplies_a_goodbye_that_the_session_stream_lost() -> None:
    lost = [*inbound_answered()[:-2], inbound_answered()[-1]]
    end = presence(active_call("NoCall", final=True), at=after(96.089))
    assert judge([*lost, end], 3.0) == Over(after(96.089), ALL_LEFT)


def test_presence_does_not_end_a_parked_party() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 2, "Parked", ANA)
    own = [payload for payload in tape.deliveries if "/extension/" in payload["event"]]
    end = presence(active_call("NoCall", final=True), at=after(21))
    assert isinstance(judge([*own, end], 3600), Live)


def test_presence_alone_needs_all_its_extensions_to_be_done() -> None:
    ben = active_call("Ringing", partyId=party_id(3), to="+15550100102", toName="Ben Cho")
    ana = presence(active_call("NoCall", final=True), at=after(9))
    payloads = [
        presence(active_call("Ringing"), at=after(1), sequence=1),
        presence(ben, at=after(1), extension=BEN),
    ]
    assert isinstance(judge([*payloads, ana], 60), Live)
    bens_end = presence(
        {**ben, "telephonyStatus": "NoCall", "terminationType": "final"},
        at=after(20),
        extension=BEN,
        sequence=34999,
    )
    assert judge([*payloads, ana, bens_end], 3.0) == Over(after(20), ALL_LEFT)
