import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.calls.evidence.facts import SessionFacts
from app.calls.model import Outcome
from app.webhooks.payloads.notification import PresenceEvent, TelephonyEvent, read_notification
from tests.derived import Seen
from tests.factories import (
    ACCOUNT,
    ANA,
    ANA_NUMBER,
    BEN,
    CONFERENCE,
    CONSULTATION,
    DANA_NUMBER,
    MENU,
    NOON,
    QUEUE,
    RING_OUT_SECOND,
    SCRIPTS,
    SESSION,
    TELEPHONY_SESSION,
    Json,
    Tape,
    active_call,
    delivery,
    inbound_answered,
    party,
    party_id,
    presence,
    received_at,
)


def facts_of(deliveries: Iterable[Json], telephony_session_id: str = TELEPHONY_SESSION) -> SessionFacts:
    facts = SessionFacts()
    for payload in deliveries:
        event = read_notification(payload, received_at(payload))
        assert isinstance(event, TelephonyEvent | PresenceEvent)
        for call in event.calls:
            if call.key.telephony_session_id in (telephony_session_id, None):
                facts = facts.union(call.facts)
    return facts


def view_of(script: str | Iterable[Json], telephony_session_id: str = TELEPHONY_SESSION) -> Seen:
    deliveries = SCRIPTS[script]() if isinstance(script, str) else script
    return Seen(facts_of(deliveries, telephony_session_id))


@pytest.mark.parametrize(
    ("script", "direction", "outcome", "answered_by"),
    [
        ("inbound_answered", "Inbound", Outcome.ANSWERED, ANA),
        ("inbound_through_menu", "Inbound", Outcome.ANSWERED, ANA),
        ("inbound_missed", "Inbound", Outcome.MISSED, None),
        ("voicemail", "Inbound", Outcome.VOICEMAIL, None),
        ("outbound_answered", "Outbound", Outcome.ANSWERED, None),
        ("outbound_busy", "Outbound", Outcome.BUSY, None),
        ("outbound_no_answer", "Outbound", Outcome.NO_ANSWER, None),
        ("internal", "Outbound", Outcome.ANSWERED, BEN),
        ("own_number", "Outbound", Outcome.VOICEMAIL, None),
        ("queue_answered", "Inbound", Outcome.ANSWERED, ANA),
        ("queue_abandoned", "Inbound", Outcome.ABANDONED, None),
        ("blind_transfer", "Inbound", Outcome.ANSWERED, ANA),
        ("warm_transfer", "Inbound", Outcome.ANSWERED, ANA),
        ("parked_and_picked_up", "Inbound", Outcome.ANSWERED, ANA),
        ("parked_and_revived", "Inbound", Outcome.ANSWERED, ANA),
        ("merged_into_conference", "Outbound", Outcome.ANSWERED, None),
        ("first_seen_disconnected", "Inbound", Outcome.UNKNOWN, None),
        ("presence_only", "Inbound", Outcome.ANSWERED, ANA),
        ("both_sources", "Inbound", Outcome.ANSWERED, ANA),
    ],
)
def test_each_script_has_its_outcome(
    script: str, direction: str, outcome: Outcome, answered_by: str | None
) -> None:
    view = view_of(script)
    assert (view.direction, view.outcome, view.answered_by) == (direction, outcome, answered_by)
    assert (view.answered_at is not None) is (outcome is Outcome.ANSWERED)
    assert view.session_ids == (SESSION,)
    assert view.alive == ()


@pytest.mark.parametrize("script", ["internal", "own_number"])
def test_a_call_between_extensions_is_internal_and_has_no_external_number(script: str) -> None:
    view = view_of(script)
    assert view.internal
    assert view.external_number is None


@pytest.mark.parametrize(
    "script", ["inbound_answered", "queue_answered", "outbound_answered", "presence_only"]
)
def test_the_external_number_is_the_customers_in_both_directions(script: str) -> None:
    assert view_of(script).external_number == DANA_NUMBER
    assert not view_of(script).internal


def test_times_of_an_answered_call_come_from_its_events() -> None:
    view = view_of("inbound_answered")
    assert view.started_at == NOON
    assert view.saw_start
    assert view.answered_at == NOON + timedelta(seconds=3.008)
    assert view.last_terminal_at == NOON + timedelta(seconds=95.740)
    assert view.ring_seconds == pytest.approx(2.71)
    assert view.hold_seconds == pytest.approx(10.9)
    assert view.talk_seconds == pytest.approx(95.728 - 3.008 - 10.9)


def test_both_sides_are_known_from_the_callers_party_with_gaps_filled_from_the_called_one() -> None:
    view = view_of("inbound_answered")
    assert (view.from_.phone_number, view.from_.name) == (DANA_NUMBER, "Dana Field")
    assert (view.to.phone_number, view.to.name, view.to.extension_id) == (ANA_NUMBER, "Ana Ruiz", ANA)


def test_later_events_with_only_id_and_status_keep_known_fields() -> None:
    payloads = [
        delivery(party(2, "Proceeding", extensionId=ANA, to={"name": "Ana Ruiz"}), sequence=3),
        delivery(
            {"id": party_id(2), "status": {"code": "Answered"}}, sequence=4, at=NOON + timedelta(seconds=1)
        ),
    ]
    (only,) = view_of(payloads).parties
    assert (only.extension_id, only.direction, only.to.name, only.code) == (
        ANA,
        "Inbound",
        "Ana Ruiz",
        "Answered",
    )


def test_a_menu_that_answers_is_not_a_human() -> None:
    view = view_of(SCRIPTS["inbound_through_menu"]()[:7])
    assert {party.extension_id for party in view.parties} == {None, MENU, ANA}
    assert view.answered_at is None
    assert view.outcome is Outcome.IN_PROGRESS


def test_ringing_does_not_count_the_time_in_the_menu() -> None:
    assert view_of("inbound_through_menu").ring_seconds == pytest.approx(12.0 - 9.018 - 0.276)


def test_a_queue_is_not_a_human_even_if_it_shows_as_answered() -> None:
    tape = Tape()
    tape.customer_calls("+15550100900")
    tape.says(0.1, 2, "Answered", QUEUE)
    tape.says(3.0, 3, "Proceeding", ANA, queueCall=True)
    view = view_of(tape.deliveries)
    assert view.answered_at is None
    assert view.outcome is Outcome.IN_PROGRESS
    assert view.outcome_if_over is Outcome.ABANDONED


def test_a_person_who_transfers_to_a_queue_stays_a_person() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 2, "Disconnected", ANA, reason="BlindTransfer")
    tape.says(20.01, 3, "Setup", QUEUE)
    tape.says(22.0, 4, "Proceeding", BEN, queueCall=True)
    assert view_of(tape.deliveries).answered_by == ANA


def test_two_phones_that_ring_together_are_not_a_menu() -> None:
    tape = Tape()
    tape.customer_calls(ANA_NUMBER)
    tape.says(0.02, 2, "Proceeding", ANA)
    tape.says(0.03, 3, "Proceeding", BEN)
    tape.says(0.5, 2, "Answered", ANA)
    tape.says(0.51, 3, "Disconnected", BEN, reason="Pickup")
    tape.says(1.5, 2, "Disconnected", ANA)
    tape.says(1.51, 1, "Disconnected")
    assert view_of(tape.deliveries).answered_by == ANA


def test_the_callers_own_answered_state_is_not_an_answer() -> None:
    tape = Tape()
    tape.customer_calls(ANA_NUMBER)
    tape.says(0.2, 1, "Answered")
    view = view_of(tape.deliveries)
    assert view.answered_at is None
    assert view.outcome is Outcome.IN_PROGRESS


def test_an_outbound_call_seen_from_one_extension_is_answered_when_its_party_is() -> None:
    own = [payload for payload in SCRIPTS["outbound_answered"]() if "/extension/" in payload["event"]]
    view = view_of(own)
    assert view.outcome is Outcome.ANSWERED
    assert view.direction == "Outbound"
    assert view.external_number == DANA_NUMBER
    assert view.talk_seconds == pytest.approx(48.015 - 8.03)


def test_the_direction_is_known_from_one_inbound_party() -> None:
    own = [payload for payload in inbound_answered() if "/extension/" in payload["event"]]
    view = view_of(own)
    assert (view.direction, view.external_number, view.answered_by) == ("Inbound", DANA_NUMBER, ANA)


def test_the_queue_is_named_and_all_extensions_are_listed() -> None:
    view = view_of("queue_answered")
    assert view.queue_name == "Sales"
    assert set(view.extension_ids) == {QUEUE, ANA, BEN}


def test_recordings_are_listed_once() -> None:
    assert view_of("inbound_answered").recording_ids == ("3019664700",)


def test_a_warm_transfer_links_both_sessions() -> None:
    first, second = view_of("warm_transfer"), view_of("warm_transfer", CONSULTATION)
    assert [(link.kind, link.telephony_session_id) for link in first.related] == [
        ("attendedTransfer", CONSULTATION)
    ]
    assert [(link.kind, link.telephony_session_id) for link in second.related] == [
        ("attendedTransfer", TELEPHONY_SESSION)
    ]
    link = first.related[0]
    assert (link.session_id, link.party_id) == ("1229016184016", party_id(1, CONSULTATION))


def test_a_conference_is_linked_and_its_zero_is_not_an_alias() -> None:
    (link,) = view_of("merged_into_conference").related
    assert (link.kind, link.telephony_session_id, link.session_id) == ("conference", CONFERENCE, None)
    assert view_of("conference", CONFERENCE).session_ids == ()
    assert view_of("conference", CONFERENCE).session_id is None


def test_a_ring_out_is_two_calls_with_separate_keys() -> None:
    assert view_of("ring_out").session_id == SESSION
    assert view_of("ring_out", RING_OUT_SECOND).session_id == "1229016183016"
    assert view_of("ring_out", RING_OUT_SECOND).origin == "RingOut"


def test_a_call_whose_beginning_was_missed_is_marked() -> None:
    view = view_of("first_seen_disconnected")
    assert not view.saw_start
    assert view.started_at == view.parties[0].first_at


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("TargetBusy", Outcome.BUSY),
        ("Rejected", Outcome.REJECTED),
        ("InvalidNumber", Outcome.FAILED),
        ("DestinationBlocked", Outcome.BLOCKED),
        ("NoAnswer", Outcome.NO_ANSWER),
        ("Timeout", Outcome.NO_ANSWER),
        ("Cancelled", Outcome.NO_ANSWER),
        ("SomethingNew", Outcome.NO_ANSWER),
    ],
)
def test_the_reason_of_a_failed_attempt_decides_the_outcome(reason: str, outcome: Outcome) -> None:
    tape = Tape()
    tape.ana_dials()
    tape.says(3.0, 2, "Disconnected", reason=reason)
    tape.says(3.01, 1, "Disconnected", ANA)
    assert view_of(tape.deliveries).outcome is outcome


def test_a_received_fax_has_the_outcome_fax() -> None:
    tape = Tape()
    tape.customer_calls(ANA_NUMBER)
    tape.says(1.0, 2, "FaxReceive", ANA)
    tape.says(30.0, 2, "Disconnected", ANA)
    tape.says(30.0, 1, "Disconnected")
    assert view_of(tape.deliveries).outcome is Outcome.FAX


def test_a_late_event_with_a_lower_sequence_changes_nothing() -> None:
    payloads = inbound_answered()
    late = [*payloads[:2], *payloads[3:], payloads[2]]
    assert view_of(late).view == view_of(payloads).view


def test_a_fact_without_a_sequence_is_placed_by_time() -> None:
    payloads = inbound_answered()
    for payload in payloads:
        del payload["body"]["sequence"]
    assert view_of(reversed(payloads)).outcome is Outcome.ANSWERED
    del (mixed := inbound_answered())[4]["body"]["sequence"]
    right = replace(view_of(payloads).view, saw_start=True, has_first_event=True)
    assert view_of(reversed(mixed)).view == right


def test_the_first_arrival_of_a_repeated_delivery_counts() -> None:
    facts = facts_of(inbound_answered())
    again = SessionFacts.of(
        replace(fact, received_at=fact.received_at + timedelta(hours=1)) for fact in facts
    )
    assert facts.union(again) == again.union(facts) == facts


def test_copies_from_a_second_subscription_are_not_news() -> None:
    payloads = inbound_answered()
    copies = [{**payload, "uuid": f"copy-{payload['uuid']}"} for payload in payloads]
    for payload in copies:
        payload["timestamp"] = "2026-03-10T19:00:00.000Z"
    assert view_of([*payloads, *copies]).view == view_of(payloads).view


def test_repeated_presence_is_not_news() -> None:
    payloads = SCRIPTS["presence_only"]()
    end = payloads[-1]
    again = presence(active_call("NoCall", final=True), at=NOON + timedelta(minutes=9), sequence=34999)
    assert view_of([*payloads, again]).last_news_at == received_at(end)


def test_presence_ends_the_party_whose_end_the_session_stream_lost() -> None:
    payloads = inbound_answered()
    lost = payloads[:-2] + payloads[-1:]
    end = presence(active_call("NoCall", final=True), at=NOON + timedelta(seconds=96.089))
    assert [party.extension_id for party in view_of(lost).alive] == [ANA]
    assert view_of([*lost, end]).alive == ()


def test_presence_never_revives_a_party() -> None:
    late = presence(active_call("CallConnected"), at=NOON + timedelta(minutes=5))
    view = view_of([*inbound_answered(), late])
    assert view.alive == ()
    assert view.last_news_at == view_of("inbound_answered").last_news_at


def test_presence_older_than_the_session_stream_ends_nothing() -> None:
    early = presence(active_call("NoCall", final=True), at=NOON + timedelta(seconds=2))
    assert len(view_of([*inbound_answered()[:5], early]).alive) == 2


def test_presence_without_party_joins_the_party_of_its_extension() -> None:
    nameless = presence(active_call(partyId=None), at=NOON + timedelta(seconds=3.5))
    assert [party.id for party in view_of([*inbound_answered(), nameless]).parties] == [
        party_id(1),
        party_id(2),
    ]


def test_a_party_keeps_its_history() -> None:
    ana = view_of("inbound_answered").parties[1]
    assert [moment.code for moment in ana.history] == [
        "Setup",
        "Proceeding",
        "Answered",
        "Hold",
        "Answered",
        "Disconnected",
    ]
    shown = ana.to_json()
    assert shown["status"] == "Disconnected"
    assert shown["endedAt"] == "2026-03-10T18:09:16.740Z"
    assert shown["ringSeconds"] == pytest.approx(2.71)
    assert shown["to"] == {"phoneNumber": ANA_NUMBER, "name": "Ana Ruiz", "extensionId": ANA}


def test_an_empty_set_of_facts_gives_an_empty_call() -> None:
    view = Seen(SessionFacts())
    assert (view.parties, view.last_news_at, view.started_at, view.direction) == ((), None, None, None)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("telephony_session_id", [TELEPHONY_SESSION, CONFERENCE, CONSULTATION])
def test_facts_survive_storage(script: str, telephony_session_id: str) -> None:
    facts = facts_of(SCRIPTS[script](), telephony_session_id)
    stored: Any = json.loads(json.dumps(facts.to_json()))
    assert SessionFacts.from_json(stored) == facts


def test_the_stored_form_is_compact_and_does_not_change() -> None:
    (stored,) = facts_of(inbound_answered()[3:4]).to_json()
    assert stored == {
        "s": "t",
        "u": f"{TELEPHONY_SESSION}:5",
        "r": "2026-03-10T18:07:44.240Z",
        "t": "2026-03-10T18:07:44.020Z",
        "p": party_id(2),
        "n": 5,
        "sid": SESSION,
        "tid": TELEPHONY_SESSION,
        "o": "Call",
        "a": ACCOUNT,
        "x": ANA,
        "d": "Inbound",
        "c": "Answered",
        "m": False,
        "rec": [["3019664700", True]],
    }
