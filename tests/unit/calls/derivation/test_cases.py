"""Calls that went wrong with a record of their own for each part: what each of them really was.

The company: main number +1 555 010 0100, Ana 101, Ben 102, the queue Sales. Dana is a customer, the mobile is
Ana's. Each case is derived with and without the directory unless it depends on it.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from app.calls.derivation import DerivedCall, derive_call
from app.calls.derivation.agents import AgentRole
from app.calls.evidence.events import state_events
from app.calls.evidence.facts import SessionFacts
from app.calls.evidence.parties import read_parties
from app.calls.evidence.people import UNKNOWN_COMPANY, Company, Person
from app.calls.evidence.records import state_records
from app.calls.evidence.versions import RecordVersion
from app.calls.model import Outcome, Source
from app.ringcentral.models import CallRecord, read_call_record
from app.webhooks.payloads.notification import PresenceEvent, TelephonyEvent, read_notification
from tests.factories import (
    ANA,
    ANA_NUMBER,
    BEN,
    BEN_NUMBER,
    DANA_NUMBER,
    MAIN_NUMBER,
    MENU,
    NOON,
    QUEUE,
    QUEUE_NUMBER,
    Json,
    Tape,
    active_call,
    presence,
    received_at,
    sides,
)
from tests.fakes.clock import START

MOBILE = "+15550166007"
OUTSIDE = "+15550166099"

COMPANY = Company.of(
    [
        Person(
            extension_id=ANA,
            extension_number="101",
            name="Ana Ruiz",
            email="ana@example.com",
            kind="User",
            numbers=(ANA_NUMBER,),
            private_numbers=(MOBILE,),
        ),
        Person(extension_id=BEN, extension_number="102", name="Ben Cho", kind="User", numbers=(BEN_NUMBER,)),
        Person(
            extension_id=QUEUE,
            extension_number="900",
            name="Sales",
            kind="Department",
            numbers=(QUEUE_NUMBER,),
        ),
        Person(extension_id=MENU, extension_number="800", name="Main Menu", kind="IvrMenu"),
    ],
    region="US",
    main_numbers=[MAIN_NUMBER],
)
BOTH = pytest.mark.parametrize("company", [UNKNOWN_COMPANY, COMPANY], ids=["no directory", "directory"])


def record(
    direction: str,
    result: str,
    from_: str | Json,
    to: str | Json,
    *,
    extension: str | None = None,
    starts: float = 0.0,
    **fields: Any,
) -> CallRecord:
    raw: Json = {
        "id": f"{direction}-{fields.get('action', '')}-{extension}-{result}-{starts}",
        "sessionId": "1229016182016",
        "telephonySessionId": "s-1",
        "type": "Voice",
        "direction": direction,
        "action": "Phone Call" if direction == "Inbound" else "VoIP Call",
        "result": result,
        "from": from_ if isinstance(from_, dict) else {"phoneNumber": from_},
        "to": to if isinstance(to, dict) else {"phoneNumber": to},
        "startTime": (START + timedelta(seconds=starts)).isoformat(),
        "duration": 0,
        **fields,
    }
    if extension:
        raw["extension"] = {"id": int(extension)}
    read = read_call_record(raw)
    assert isinstance(read, CallRecord)
    return read


def facts_of(events: Sequence[Json]) -> SessionFacts:
    facts = SessionFacts()
    for payload in events:
        event = read_notification(payload, received_at(payload))
        assert isinstance(event, TelephonyEvent | PresenceEvent)
        for call in event.calls:
            facts = facts.union(call.facts)
    return facts


def derive(
    company: Company = UNKNOWN_COMPANY,
    *,
    events: Sequence[Json] = (),
    records: Sequence[CallRecord] = (),
) -> DerivedCall:
    statement = state_events(read_parties(facts_of(events)))
    versions = [RecordVersion(one, Source.CALL_LOG, START) for one in records]
    return derive_call([*([statement] if statement else []), *state_records(versions)], company)


def people(call: DerivedCall) -> list[tuple[str | None, str]]:
    return [(agent.extension_id, agent.role.value) for agent in call.agents]


MISSED_BY_ANA = record("Inbound", "Missed", DANA_NUMBER, ANA_NUMBER, extension=ANA)
ACCEPTED_BY_ANA = record("Inbound", "Accepted", DANA_NUMBER, ANA_NUMBER, extension=ANA, duration=20)
OF_ANA, OF_BEN = (
    {"extensionNumber": number, "extensionId": extension, "name": name}
    for number, extension, name in (("101", ANA, "Ana Ruiz"), ("102", BEN, "Ben Cho"))
)


@BOTH
@pytest.mark.parametrize("result", ["Stopped", "Busy", "Unknown", "No Answer"])
@pytest.mark.parametrize("action", ["FindMe", "FollowMe", "Sip Forwarding", "Hunting"])
@pytest.mark.parametrize("extension", [ANA, None])
def test_an_attempt_that_failed_leaves_a_missed_call_missed(
    company: Company, result: str, action: str, extension: str | None
) -> None:
    attempt = record("Outbound", result, DANA_NUMBER, MOBILE, extension=extension, action=action)
    call = derive(company, records=[attempt, MISSED_BY_ANA])
    assert (call.direction, call.internal, call.outcome) == ("Inbound", False, Outcome.MISSED)
    assert call.external_number == DANA_NUMBER
    assert people(call) == [(ANA, "rang")]
    assert call.agent is None


@BOTH
@pytest.mark.parametrize("result", ["Accepted", "Missed"])
def test_a_call_that_was_answered_on_the_mobile_is_answered(company: Company, result: str) -> None:
    attempt = record(
        "Outbound", "Call connected", DANA_NUMBER, MOBILE, extension=ANA, action="FindMe", duration=40
    )
    inbound = record("Inbound", result, DANA_NUMBER, ANA_NUMBER, extension=ANA, duration=38)
    call = derive(company, records=[attempt, inbound])
    assert (call.direction, call.outcome, call.external_number) == ("Inbound", Outcome.ANSWERED, DANA_NUMBER)
    assert people(call) == [(ANA, "answered")]


@BOTH
def test_a_transfer_to_an_outside_number_keeps_the_customer(company: Company) -> None:
    transfer = record(
        "Outbound",
        "Call connected",
        ANA_NUMBER,
        OUTSIDE,
        extension=ANA,
        action="Transfer",
        duration=40,
        starts=20,
    )
    call = derive(company, records=[transfer, ACCEPTED_BY_ANA])
    assert (call.direction, call.internal, call.outcome) == ("Inbound", False, Outcome.ANSWERED)
    assert call.from_.phone_number == DANA_NUMBER
    assert (call.external_number, call.transferred_to) == (DANA_NUMBER, OUTSIDE)
    assert people(call) == [(ANA, "transferredFrom")]


@BOTH
def test_a_call_between_colleagues_is_internal_from_either_side(company: Company) -> None:
    outbound = record("Outbound", "Call connected", OF_ANA, OF_BEN, extension=ANA, duration=30)
    inbound = record("Inbound", "Accepted", OF_ANA, OF_BEN, extension=BEN, duration=30)
    for records in ([outbound, inbound], [inbound], [outbound]):
        call = derive(company, records=records)
        assert (call.direction, call.internal, call.external_number) == ("Outbound", True, None)
        assert call.outcome is Outcome.ANSWERED
        assert people(call) == [(ANA, "answered"), (BEN, "answered")]


def test_a_colleague_is_recognised_by_number_alone() -> None:
    call = derive(COMPANY, records=[record("Inbound", "Missed", BEN_NUMBER, ANA_NUMBER, extension=ANA)])
    assert (call.direction, call.internal, call.external_number) == ("Outbound", True, None)
    assert call.outcome is Outcome.NO_ANSWER
    assert people(call) == [(BEN, "placed"), (ANA, "rang")]


@BOTH
def test_a_consultation_by_short_number_is_internal(company: Company) -> None:
    call = derive(company, records=[record("Outbound", "Call connected", ANA_NUMBER, "102", extension=ANA)])
    assert (call.internal, call.external_number) == (True, None)


@BOTH
@pytest.mark.parametrize("word", ["anonymous", "Anonymous", "Restricted", "Unavailable"])
def test_a_withheld_number_is_nobodys_number(company: Company, word: str) -> None:
    call = derive(company, records=[record("Inbound", "Missed", word, ANA_NUMBER, extension=ANA)])
    assert (call.direction, call.internal, call.external_number) == ("Inbound", False, None)


@BOTH
def test_a_conference_and_a_star_code_are_no_numbers(company: Company) -> None:
    for to, internal in (("conference", None), ("*80", True)):
        call = derive(company, records=[record("Outbound", "Call connected", ANA_NUMBER, to, extension=ANA)])
        assert (call.direction, call.internal, call.external_number) == ("Outbound", internal, None)


@BOTH
def test_two_extensions_behind_one_number_are_not_one_person(company: Company) -> None:
    both = (
        {"phoneNumber": MAIN_NUMBER, "extensionId": ANA},
        {"phoneNumber": MAIN_NUMBER, "extensionId": BEN},
    )
    call = derive(company, records=[record("Outbound", "Call connected", *both, extension=ANA, duration=60)])
    assert (call.outcome, call.internal, call.external_number) == (Outcome.ANSWERED, True, None)
    same = record("Outbound", "Call connected", both[0], both[0], extension=ANA, duration=60)
    assert derive(company, records=[same]).outcome is Outcome.VOICEMAIL


@BOTH
def test_a_caller_who_shows_the_dialled_number_is_not_oneself(company: Company) -> None:
    one = record("Inbound", "Accepted", MAIN_NUMBER, MAIN_NUMBER, extension=ANA, duration=95)
    call = derive(company, records=[one])
    assert (call.outcome, call.direction) == (Outcome.ANSWERED, "Inbound")


@BOTH
@pytest.mark.parametrize("result", ["No Answer", "Hang Up", "Missed"])
def test_an_unanswered_call_is_missed_or_not_answered_by_its_direction(company: Company, result: str) -> None:
    inbound = record("Inbound", result, DANA_NUMBER, ANA_NUMBER, extension=ANA)
    assert derive(company, records=[inbound]).outcome is Outcome.MISSED
    outbound = record("Outbound", result, ANA_NUMBER, DANA_NUMBER, extension=ANA)
    assert derive(company, records=[outbound]).outcome is Outcome.NO_ANSWER


def ring_out(answers: bool) -> list[Json]:
    tape = Tape(origin="RingOut")
    number, own = {"phoneNumber": DANA_NUMBER}, {"phoneNumber": ANA_NUMBER, "extensionId": ANA}
    tape.says(
        0.0, 1, "Proceeding", ANA, direction="Inbound", ringOutRole="Initiator", **{"from": number, "to": own}
    )
    tape.says(3.0, 1, "Answered", ANA, direction="Inbound")
    tape.says(3.1, 2, "Proceeding", direction="Inbound", ringOutRole="Target", **sides(own, number))
    if answers:
        tape.says(9.0, 2, "Answered", direction="Inbound")
    reason = None if answers else "NoAnswer"
    tape.says(20.0, 2, "Disconnected", direction="Inbound", reason=reason)
    tape.says(20.1, 1, "Disconnected", ANA, direction="Inbound")
    return tape.deliveries


@BOTH
def test_a_ring_out_in_one_session_is_a_call_to_its_target(company: Company) -> None:
    call = derive(company, events=ring_out(answers=False))
    assert (call.direction, call.outcome, call.talk_seconds) == ("Outbound", Outcome.NO_ANSWER, 0.0)
    assert (call.external_number, call.internal, call.answered_at) == (DANA_NUMBER, False, None)
    answered = derive(company, events=ring_out(answers=True))
    assert answered.outcome is Outcome.ANSWERED
    assert answered.talk_seconds == pytest.approx(11.0)
    assert people(answered) == [(ANA, "answered")]


@BOTH
def test_a_record_undoes_talk_time_that_events_showed(company: Company) -> None:
    says = record("Outbound", "No Answer", ANA_NUMBER, DANA_NUMBER, extension=ANA, action="RingOut Web")
    call = derive(company, events=ring_out(answers=True), records=[says])
    assert (call.direction, call.outcome, call.answered_at) == ("Outbound", Outcome.NO_ANSWER, None)
    assert call.talk_seconds == 0.0


def menu(*, hung_up: bool) -> list[Json]:
    tape = Tape()
    tape.says(0.0, 1, "Setup", **sides({"phoneNumber": DANA_NUMBER}, {"phoneNumber": MAIN_NUMBER}))
    tape.says(0.1, 2, "Setup", to={"phoneNumber": MAIN_NUMBER})
    tape.says(0.2, 1, "Answered")
    if hung_up:
        tape.says(6.0, 1, "Disconnected")
        tape.says(6.01, 2, "Disconnected")
        return tape.deliveries
    tape.says(6.0, 2, "Disconnected")
    tape.says(6.0, 3, "Setup", ANA, to={"phoneNumber": MAIN_NUMBER, "extensionId": ANA})
    tape.says(6.3, 3, "Proceeding", ANA)
    tape.says(13.6, 3, "Answered", ANA)
    tape.says(60.0, 1, "Disconnected")
    tape.says(60.01, 3, "Disconnected", ANA)
    return tape.deliveries


@BOTH
def test_a_menu_that_never_answers_does_not_ring(company: Company) -> None:
    call = derive(company, events=menu(hung_up=False))
    assert call.outcome is Outcome.ANSWERED
    assert call.ring_seconds == pytest.approx(7.3)
    assert people(call) == [(ANA, "answered")]
    assert derive(company, events=menu(hung_up=True)).outcome is Outcome.ABANDONED
    assert derive(company, events=menu(hung_up=True)).agents == ()


@BOTH
def test_a_queue_call_seen_by_presence_alone_is_abandoned(company: Company) -> None:
    entry: Json = {"queueCall": True, "callInfo": {"type": "QueueName", "value": "Sales"}}
    rings = presence(active_call("Ringing", **entry), sequence=1)
    ends = presence(active_call("NoCall", **entry), at=NOON + timedelta(seconds=20), sequence=2)
    call = derive(company, events=[rings, ends])
    assert (call.outcome, call.queue_name, call.direction) == (Outcome.ABANDONED, "Sales", "Inbound")
    assert call.external_number == DANA_NUMBER


@BOTH
def test_presence_ends_a_call_without_a_termination_type(company: Company) -> None:
    rings = presence(active_call("Ringing"), sequence=1)
    ends = presence(active_call("NoCall"), at=NOON + timedelta(seconds=20), sequence=2)
    call = derive(company, events=[rings, ends])
    assert (call.outcome, people(call)) == (Outcome.MISSED, [(ANA, "rang")])


@pytest.mark.parametrize("shown", ["18665550106", "+18665550106", "1 (866) 555-0106", "866-555-0106"])
def test_a_number_has_one_form(shown: str) -> None:
    call = derive(COMPANY, records=[record("Inbound", "Missed", shown, ANA_NUMBER, extension=ANA)])
    assert call.external_number == "+18665550106"
    assert call.from_json is not None
    assert call.from_json["phoneNumber"] == "+18665550106"
    assert call.from_json.get("rawPhoneNumber") == (None if shown.startswith("+1866") else shown)


@BOTH
def test_a_queue_call_found_by_a_sweep_has_its_queue_and_its_people(company: Company) -> None:
    caller = {"phoneNumber": DANA_NUMBER, "name": "Sales - WIRELESS CALLER"}
    queue = {"phoneNumber": QUEUE_NUMBER, "name": "Sales"}
    to_phone = {
        "legType": "PstnToSip",
        "master": False,
        "direction": "Outbound",
        "result": "Accepted",
        "extension": {"id": int(ANA)},
        "startTime": (START + timedelta(seconds=9)).isoformat(),
        "duration": 90,
        "from": OF_ANA,
        "to": {"phoneNumber": ANA_NUMBER},
    }
    won = record("Inbound", "Accepted", caller, queue, extension=ANA, duration=99, legs=[to_phone])
    lost = record("Inbound", "Missed", DANA_NUMBER, {"phoneNumber": QUEUE_NUMBER}, extension=BEN, starts=3)
    call = derive(company, records=[lost, won])
    assert (call.queue_name, call.internal, call.outcome) == ("Sales", False, Outcome.ANSWERED)
    assert people(call) == [(ANA, "answered"), (BEN, "rang")]
    assert call.from_.name == "WIRELESS CALLER"
    assert call.answered_at == START + timedelta(seconds=9)
    assert call.talk_seconds == 90.0


def test_a_queue_is_recognised_by_the_directory() -> None:
    lost = record("Inbound", "Missed", DANA_NUMBER, QUEUE_NUMBER, extension=BEN)
    call = derive(COMPANY, records=[lost])
    assert (call.queue_name, call.outcome) == ("Sales", Outcome.ABANDONED)


@BOTH
@pytest.mark.parametrize(
    ("reason", "result"),
    [
        ("DestinationBlocked", "Blocked"),
        ("InternationalDisabled", "International Disabled"),
        ("NotEnoughFunds", "No Calling Credit"),
        ("TargetBusy", "Busy"),
        ("NoAnswer", "No Answer"),
        ("Rejected", "Rejected"),
        ("InvalidNumber", "Wrong Number"),
    ],
)
def test_events_and_records_name_the_same_outcome(company: Company, reason: str, result: str) -> None:
    tape = Tape()
    tape.ana_dials()
    tape.says(2.0, 2, "Disconnected", reason=reason)
    tape.says(2.1, 1, "Disconnected", ANA)
    says = record("Outbound", result, ANA_NUMBER, DANA_NUMBER, extension=ANA)
    told = [
        derive(company, events=tape.deliveries),
        derive(company, records=[says]),
        derive(company, events=tape.deliveries, records=[says]),
    ]
    assert len({call.outcome for call in told}) == 1
    assert told[0].outcome not in (Outcome.UNKNOWN, Outcome.IN_PROGRESS)
    assert {(call.direction, call.external_number) for call in told} == {("Outbound", DANA_NUMBER)}


def test_an_attempt_without_a_name_is_recognised_by_the_caller_it_shows() -> None:
    attempt = record("Outbound", "Call connected", DANA_NUMBER, MOBILE, extension=ANA, duration=40)
    call = derive(records=[attempt, MISSED_BY_ANA])
    assert (call.direction, call.outcome, call.external_number) == ("Inbound", Outcome.ANSWERED, DANA_NUMBER)


def test_roles_of_a_blind_transfer_come_from_events() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 2, "Disconnected", ANA, reason="BlindTransfer")
    tape.says(20.0, 3, "Proceeding", BEN, to={"phoneNumber": BEN_NUMBER, "extensionId": BEN})
    tape.says(25.0, 3, "Answered", BEN)
    tape.says(60.0, 1, "Disconnected")
    tape.says(60.0, 3, "Disconnected", BEN)
    call = derive(events=tape.deliveries)
    assert people(call) == [(ANA, AgentRole.TRANSFERRED_FROM), (BEN, AgentRole.TRANSFERRED_TO)]
    assert call.agent is not None
    assert call.agent.extension_id == ANA
    assert call.transferred_to is None


def test_a_blind_transfer_to_an_outside_number_is_shown() -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(20.0, 2, "Disconnected", ANA, reason="BlindTransfer")
    tape.says(20.0, 3, "Proceeding", to={"phoneNumber": OUTSIDE})
    tape.says(25.0, 3, "Answered")
    tape.says(60.0, 1, "Disconnected")
    tape.says(60.0, 3, "Disconnected")
    call = derive(events=tape.deliveries)
    assert (call.transferred_to, call.external_number, call.direction) == (OUTSIDE, DANA_NUMBER, "Inbound")


@BOTH
@pytest.mark.parametrize("result", ["Sent", "Busy", "No Answer", "Accepted", "Received", "Fax Send Error"])
@pytest.mark.parametrize("direction", ["Inbound", "Outbound"])
def test_a_fax_has_no_talk_and_its_own_outcome(company: Company, result: str, direction: str) -> None:
    sides_of = (DANA_NUMBER, ANA_NUMBER) if direction == "Inbound" else (ANA_NUMBER, DANA_NUMBER)
    call = derive(
        company, records=[record(direction, result, *sides_of, extension=ANA, type="Fax", duration=30)]
    )
    assert (call.outcome, call.talk_seconds, call.answered_at) == (Outcome.FAX, 0.0, None)
    assert (call.direction, call.external_number) == (direction, DANA_NUMBER)


@BOTH
def test_a_colleague_sought_on_the_mobile_does_not_make_a_call_external(company: Company) -> None:
    tape = Tape()
    tape.says(
        0.0, 1, "Setup", BEN, **sides({"phoneNumber": BEN_NUMBER, "extensionId": BEN}, {"phoneNumber": "101"})
    )
    tape.says(0.1, 2, "Proceeding", ANA, to={"phoneNumber": ANA_NUMBER, "extensionId": ANA})
    tape.says(9.0, 3, "Proceeding", to={"phoneNumber": MOBILE})
    tape.says(14.0, 3, "Answered")
    tape.says(14.1, 2, "Disconnected", ANA, reason="Pickup")
    tape.says(60.0, 1, "Disconnected", BEN)
    tape.says(60.0, 3, "Disconnected")
    call = derive(company, events=tape.deliveries)
    assert (call.direction, call.internal, call.external_number) == ("Outbound", True, None)
    assert (call.outcome, call.agents[0].extension_id) == (Outcome.ANSWERED, BEN)


def test_who_answers_on_the_mobile_is_known_by_the_directory() -> None:
    tape = Tape()
    tape.customer_calls(ANA_NUMBER)
    tape.rings(0.022, 2, ANA, "Ana Ruiz", ANA_NUMBER)
    tape.says(9.0, 3, "Proceeding", to={"phoneNumber": MOBILE})
    tape.says(14.0, 3, "Answered")
    tape.says(60.0, 1, "Disconnected")
    tape.says(60.0, 3, "Disconnected")
    call = derive(COMPANY, events=tape.deliveries)
    assert (call.outcome, call.external_number, call.direction) == (Outcome.ANSWERED, DANA_NUMBER, "Inbound")
    assert people(call) == [(ANA, "answered")]
    assert call.agents[0].talk_seconds == pytest.approx(46.0)


@BOTH
def test_a_pick_up_known_from_its_own_record_alone_does_not_turn_the_call(company: Company) -> None:
    tape = Tape()
    tape.ana_answers()
    tape.says(60.0, 1, "Disconnected")
    tape.says(60.0, 2, "Disconnected", ANA)
    pick_up = record("Outbound", "Call connected", BEN_NUMBER, DANA_NUMBER, extension=BEN, action="Pickup")
    call = derive(company, events=tape.deliveries, records=[pick_up])
    assert (call.direction, call.external_number) == ("Inbound", DANA_NUMBER)


def test_what_a_record_says_before_the_end_counts_less_than_events() -> None:
    tape = Tape()
    tape.ana_dials()
    tape.says(9.0, 2, "Disconnected", reason="NoAnswer")
    tape.says(9.1, 1, "Disconnected", ANA)
    stopped = record("Outbound", "Stopped", ANA_NUMBER, DANA_NUMBER, extension=ANA)
    statement = state_events(read_parties(facts_of(tape.deliveries)))
    early = state_records([RecordVersion(stopped, Source.CALL_LOG, START, is_provisional=True)])
    assert statement is not None
    assert derive_call([statement, *early]).outcome is Outcome.NO_ANSWER


@pytest.mark.parametrize("codes", [["Setup"], ["Setup", "Answered"], ["Answered"]])
def test_a_caller_who_hangs_up_in_a_menu_with_an_extension_has_abandoned_the_call(codes: list[str]) -> None:
    tape = Tape()
    tape.customer_calls(MAIN_NUMBER)
    for second, code in enumerate(codes):
        tape.says(0.1 + second, 2, code, MENU, to={"phoneNumber": MAIN_NUMBER, "extensionId": MENU})
    tape.says(9.0, 1, "Disconnected")
    tape.says(9.0, 2, "Disconnected", MENU)
    hung_up = record("Inbound", "Hang Up", DANA_NUMBER, MAIN_NUMBER, extension=MENU)
    for call in (derive(COMPANY, events=tape.deliveries), derive(COMPANY, records=[hung_up])):
        assert (call.outcome, call.agents, call.answered_at) == (Outcome.ABANDONED, (), None)
        assert (call.direction, call.external_number) == ("Inbound", DANA_NUMBER)
