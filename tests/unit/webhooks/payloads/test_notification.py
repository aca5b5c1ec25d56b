from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.calls.evidence.facts import Announced, Code, Endpoint, Fact, Stream, known_code
from app.ids import UNBOUND_ACCOUNT
from app.webhooks.payloads.notification import (
    Ignored,
    InsightsEvent,
    PresenceEvent,
    ReminderEvent,
    TelephonyEvent,
    peek,
    read_notification,
)
from tests.factories import (
    ACCOUNT,
    ANA,
    ANA_NUMBER,
    DANA_NUMBER,
    NOON,
    SESSION,
    SUBSCRIPTION,
    TELEPHONY_SESSION,
    active_call,
    delivery,
    party,
    party_id,
    presence,
    sides,
)

ARRIVAL = NOON + timedelta(seconds=1)


def one_fact(payload: Any) -> Fact:
    event = read_notification(payload, ARRIVAL)
    assert isinstance(event, TelephonyEvent | PresenceEvent)
    return event.calls[0].facts[0]


def test_a_session_event_names_its_call_and_has_one_fact_per_party() -> None:
    event = read_notification(delivery(party(1), party(2, extensionId=ANA)), ARRIVAL)

    assert isinstance(event, TelephonyEvent)
    assert event.subscription_id == SUBSCRIPTION
    (call,) = event.calls
    assert (call.key.account_id, call.key.telephony_session_id, call.key.session_id) == (
        ACCOUNT,
        TELEPHONY_SESSION,
        SESSION,
    )
    assert [(fact.part, fact.party_id, fact.extension_id) for fact in call.facts] == [
        (0, party_id(1), None),
        (1, party_id(2), ANA),
    ]


def test_every_field_that_matters_is_kept() -> None:
    raw_party = party(
        2,
        "Answered",
        reason="AgentAnswered",
        extensionId=ANA,
        **{"from": {"phoneNumber": DANA_NUMBER, "name": "Dana Field"}},
        to={"phoneNumber": ANA_NUMBER, "extensionId": ANA, "deviceId": "8"},
        park={"id": "*801"},
        queueCall=True,
        missedCall=True,
        conferenceRole="Host",
        recordings=[{"id": 3019664700, "active": True}],
        uiCallInfo={
            "primary": {"type": "QueueName", "value": "Sales"},
            "additional": {"type": "CallerIdName", "value": "Dana"},
        },
        status={"peerId": {"sessionId": "0", "telephonySessionId": "s-2", "partyId": "p-2-1"}},
    )
    fact = one_fact(delivery(raw_party, sequence=7, uuid=7841958329667892286))

    assert fact.source is Stream.TELEPHONY
    assert (fact.uuid, fact.sequence) == ("7841958329667892286", 7)
    assert (fact.event_time, fact.received_at) == (NOON, ARRIVAL)
    assert (fact.code, fact.reason, fact.origin) == ("Answered", "AgentAnswered", "Call")
    assert fact.from_ == Endpoint(DANA_NUMBER, "Dana Field")
    assert fact.to == Endpoint(ANA_NUMBER, None, ANA)
    assert fact.peer.telephony_session_id == "s-2"
    assert fact.peer.session_id is None
    assert fact.recordings == (Announced("3019664700", True),)
    assert (fact.queue_call, fact.missed_call, fact.park_id) == (True, True, "*801")
    assert (fact.queue_name, fact.caller_name, fact.conference_role) == ("Sales", "Dana", "Host")


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-10T18:07:41.012Z",
        "2026-03-10T18:07:41.012+0000",
        "2026-03-10T18:07:41.012+00:00",
        "2026-03-10T20:07:41.012+0200",
        "2026-03-10T18:07:41.012",
        "2026-03-10T18:07:41.012000000Z",
        " 2026-03-10T18:07:41.012Z ",
    ],
)
def test_all_observed_formats_of_times_are_read(text: str) -> None:
    assert one_fact(delivery(eventTime=text)).event_time == NOON


def test_a_time_without_a_fraction_is_a_time() -> None:
    assert one_fact(delivery(eventTime="2026-03-10T18:07:41Z")).event_time == NOON.replace(microsecond=0)


@pytest.mark.parametrize(
    "junk",
    [
        None,
        "",
        "soon",
        "a time that nobody can read",
        1773166061,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
    ],
)
def test_without_a_usable_event_time_the_time_of_sending_is_used(junk: Any) -> None:
    assert one_fact(delivery(eventTime=junk, timestamp="2026-03-10T18:07:42.000Z")).event_time == datetime(
        2026, 3, 10, 18, 7, 42, tzinfo=UTC
    )
    assert one_fact(delivery(eventTime=junk, timestamp=junk)).event_time == ARRIVAL


def test_times_are_utc_whatever_zone_they_came_in() -> None:
    fact = one_fact(delivery(eventTime=NOON.astimezone(timezone(timedelta(hours=-8))).isoformat()))
    assert fact.event_time.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "path",
    [
        f"/restapi/v1.0/account/{ACCOUNT}/telephony/sessions",
        f"/restapi/v1.0/account/{ACCOUNT}/extension/{ANA}/telephony/sessions",
        f"/restapi/v1.0/account/{ACCOUNT}/telephony/sessions?sipData=true",
        f"/restapi/v1.0/account/{ACCOUNT}/extension/{ANA}/telephony/sessions/",
        f"/restapi/v2/account/{ACCOUNT}/telephony/sessions",
    ],
)
def test_account_and_extension_paths_are_session_events_of_the_account(path: str) -> None:
    event = read_notification(delivery(event=path), ARRIVAL)
    assert isinstance(event, TelephonyEvent)
    assert event.account_id == ACCOUNT


def test_the_account_is_taken_from_the_body_or_the_party_if_it_is_not_in_the_path() -> None:
    own_path = "/restapi/v1.0/account/~/telephony/sessions"
    assert peek(delivery(event=own_path, accountId=11)).account_id == "11"
    assert peek(delivery(event=own_path)).account_id == ACCOUNT
    assert peek(delivery(party(accountId=None), event=own_path)).account_id == UNBOUND_ACCOUNT


def test_push_nesting_is_unwrapped() -> None:
    plain = delivery()
    nested = {"uuid": plain.pop("uuid"), "pn_apns": {"aps": {"alert": "Call"}, **plain}}
    assert one_fact(nested) == one_fact(delivery())
    assert peek(nested) == peek(delivery())


def test_an_event_without_path_is_known_by_its_shape() -> None:
    assert isinstance(read_notification(delivery(event=None), ARRIVAL), TelephonyEvent)
    assert isinstance(read_notification({**presence(active_call()), "event": None}, ARRIVAL), PresenceEvent)


def test_a_delivery_without_uuid_is_named_by_its_content() -> None:
    first, second = delivery(uuid=None), delivery(uuid=None, sequence=3)
    assert one_fact(first).uuid == one_fact(delivery(uuid=None)).uuid == peek(first).uuid
    assert one_fact(first).uuid != one_fact(second).uuid


def test_a_conference_has_no_session_id() -> None:
    event = read_notification(delivery(sessionId="0"), ARRIVAL)
    assert isinstance(event, TelephonyEvent)
    assert event.calls[0].key.session_id is None
    assert event.calls[0].facts[0].session_id is None


def test_a_telephony_id_in_the_place_of_the_session_id_is_recognised() -> None:
    call = read_notification(delivery(sessionId="s-1", telephonySessionId=None), ARRIVAL)
    assert isinstance(call, TelephonyEvent)
    assert (call.calls[0].key.telephony_session_id, call.calls[0].key.session_id) == ("s-1", None)


def test_the_extension_of_the_body_counts_only_if_the_path_agrees() -> None:
    agreed = f"/restapi/v1.0/account/{ACCOUNT}/extension/{ANA}/telephony/sessions"
    alone = f"/restapi/v1.0/account/{ACCOUNT}/telephony/sessions"
    assert one_fact(delivery(extensionId=int(ANA), event=agreed)).extension_id == ANA
    assert one_fact(delivery(extensionId=int(ANA), event=alone)).extension_id is None


def test_a_party_without_id_is_named_by_its_extension_or_side() -> None:
    assert one_fact(delivery(party(id=None, extensionId=ANA))).party_id == f"ext:{ANA}"
    assert one_fact(delivery(party(id=None))).party_id == "side:Inbound"


def test_text_that_no_database_can_store_is_cleaned() -> None:
    fact = one_fact(delivery(party(**sides({"name": "Da\x00na \ud800\n" + "x" * 999}, {}))))
    assert fact.from_.name is not None
    assert fact.from_.name.startswith("Dana x")
    assert len(fact.from_.name) == 256


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        ("VoiceMail", Code.VOICEMAIL),
        ("Voicemail", Code.VOICEMAIL),
        ("VMScreening", Code.VOICEMAIL_SCREENING),
        ("VoiceMailScreening", Code.VOICEMAIL_SCREENING),
        ("DISCONNECTED", Code.DISCONNECTED),
        ("Teleported", None),
        (None, None),
    ],
)
def test_spellings_of_a_state_are_recognised_and_the_raw_text_is_kept(
    raw: str | None, known: Code | None
) -> None:
    assert known_code(raw) is known
    assert one_fact(delivery(party(status={"code": raw}))).code == raw


def test_presence_has_a_fact_for_each_call_of_the_extension() -> None:
    other = active_call("OnHold", telephonySessionId="s-2", sessionId="2", partyId="p-2-2")
    unnamed = active_call(sessionId="0", telephonySessionId=None)
    event = read_notification(presence(active_call("Ringing"), other, unnamed), ARRIVAL)

    assert isinstance(event, PresenceEvent)
    assert (event.extension_id, event.account_id) == (ANA, ACCOUNT)
    assert [call.key.telephony_session_id for call in event.calls] == [TELEPHONY_SESSION, "s-2"]
    assert [call.facts[0].code for call in event.calls] == ["Proceeding", "Hold"]
    assert [call.facts[0].part for call in event.calls] == [0, 1]
    fact = event.calls[0].facts[0]
    assert fact.source is Stream.PRESENCE
    assert fact.from_ == Endpoint(DANA_NUMBER, "Dana Field")
    assert fact.to == Endpoint(ANA_NUMBER, "Ana Ruiz", ANA)
    assert fact.started_at == NOON


def test_presence_ends_a_call_unless_the_end_is_intermediate() -> None:
    def code(**fields: Any) -> str | None:
        return one_fact(presence(active_call("NoCall", **fields))).code

    assert code(final=True) == "Disconnected"
    assert code(terminationType="intermediate") is None
    assert code() == "Disconnected", "some payloads lack the type"


def test_old_presence_without_telephony_session_and_party_is_read() -> None:
    old = active_call(telephonySessionId=None, partyId=None, startTime="2026-03-10T18:07:41.012+0000")
    event = read_notification(presence(old), ARRIVAL)
    assert isinstance(event, PresenceEvent)
    assert (event.calls[0].key.telephony_session_id, event.calls[0].key.session_id) == (None, SESSION)
    assert event.calls[0].facts[0].party_id == f"ext:{ANA}"


def test_insights_keep_their_keys_and_body() -> None:
    payload = {
        "uuid": "1",
        "event": "/ai/ringsense/v1/public/accounts/908070001/domains/pbx/insights",
        "body": {
            "sourceSessionId": TELEPHONY_SESSION,
            "sourceRecordId": "3019664700",
            "lastModifiedTime": "2026-03-10T18:38:12Z",
            "insights": {"Sentiment": [{"value": "Positive"}]},
        },
    }
    event = read_notification(payload, ARRIVAL)
    assert isinstance(event, InsightsEvent)
    assert (event.account_id, event.telephony_session_id) == (ACCOUNT, TELEPHONY_SESSION)
    assert event.recording_id == "3019664700"
    assert event.last_modified_at == datetime(2026, 3, 10, 18, 38, 12, tzinfo=UTC)
    assert event.body["insights"]["Sentiment"] == [{"value": "Positive"}]
    assert peek(payload).telephony_session_id == TELEPHONY_SESSION


def test_a_reminder_names_the_subscription_that_expires() -> None:
    payload = {
        "event": f"/restapi/v1.0/subscription/{SUBSCRIPTION}?threshold=3600&interval=600",
        "body": {"id": SUBSCRIPTION, "expiresIn": 3540, "expirationTime": "2026-03-17T17:58:02.101Z"},
    }
    event = read_notification(payload, ARRIVAL)
    assert isinstance(event, ReminderEvent)
    assert (event.subscription_id, event.expires_in_seconds, event.status) == (SUBSCRIPTION, 3540, None)
    assert event.expires_at == datetime(2026, 3, 17, 17, 58, 2, 101_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([delivery()], "not-an-object"),
        (None, "not-an-object"),
        ({}, "no-body"),
        ({**delivery(), "body": "text"}, "no-body"),
        (delivery(event="/restapi/v1.0/account/1/extension/2/message-store"), "unknown-event"),
        (delivery(sessionId=None, telephonySessionId=None), "no-session"),
        (delivery(sessionId="0", telephonySessionId=""), "no-session"),
        (delivery(parties=[]), "no-parties"),
        (delivery(parties={"id": "1"}), "no-parties"),
        (presence(), "presence-without-calls"),
        ({**presence(active_call()), "event": "/restapi/v1.0/account/1/presence"}, "unknown-event"),
    ],
)
def test_what_cannot_be_used_is_ignored_with_a_reason(payload: Any, reason: str) -> None:
    ignored = read_notification(payload, ARRIVAL)
    assert isinstance(ignored, Ignored)
    assert ignored.reason == reason
    assert ignored.text.endswith(".")


def test_peek_returns_which_call_a_delivery_is_about() -> None:
    assert peek(delivery(uuid="u-1")) == peek({**delivery(uuid="u-1"), "extra": 1})
    seen = peek(delivery(uuid="u-1"))
    assert (seen.uuid, seen.account_id) == ("u-1", ACCOUNT)
    assert (seen.telephony_session_id, seen.session_id) == (TELEPHONY_SESSION, SESSION)
    assert seen.event == f"/restapi/v1.0/account/{ACCOUNT}/telephony/sessions"


def test_peek_uses_the_first_call_of_presence() -> None:
    assert peek(presence(active_call())).telephony_session_id == TELEPHONY_SESSION
    assert peek(presence()).telephony_session_id is None


def test_numbers_are_accepted_as_text_and_text_as_numbers() -> None:
    raw_party = party() | {"from": "anonymous", "to": {"phoneNumber": 101, "extensionId": int(ANA)}}
    payload = delivery(raw_party, sessionId=int(SESSION))
    payload["body"]["sequence"] = "17"
    fact = one_fact(payload)
    assert (fact.sequence, fact.session_id) == (17, SESSION)
    assert (fact.from_, fact.to) == (Endpoint("anonymous"), Endpoint("101", None, ANA))


@pytest.mark.parametrize("junk", [True, -1, 2**63, 1.5, "x", "1" * 20, "²", None, [2]])
def test_an_unusable_sequence_is_left_out(junk: Any) -> None:
    payload = delivery()
    payload["body"]["sequence"] = junk
    assert one_fact(payload).sequence is None


def test_recordings_without_id_are_left_out() -> None:
    raw_party = party(recordings=[{"active": True}, "3019664700", {"id": "3019664701"}])
    assert one_fact(delivery(raw_party)).recordings == (Announced("3019664701"),)


def test_an_enormous_id_is_refused() -> None:
    assert peek(delivery(sessionId=10**4000)).session_id is None
    assert peek(delivery(uuid="x" * 129)).uuid.startswith("content-")


def test_a_payload_that_is_not_json_has_a_name() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert peek(endless).uuid == peek(endless).uuid


def test_an_endpoint_is_true_if_it_has_a_value() -> None:
    assert not Endpoint()
    assert Endpoint(name="Dana Field")
