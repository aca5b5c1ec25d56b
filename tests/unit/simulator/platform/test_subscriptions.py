"""Subscriptions, handshakes and events."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from app.simulator.delivery.http_client import WebhookResponse
from app.simulator.delivery.webhooks import check_handshake
from app.simulator.platform.errors import Refused
from app.simulator.platform.events import Envelope, presence_body, read_session, session_body, stamp
from app.simulator.platform.subscriptions import (
    Subscription,
    event_path,
    lifetime_seconds,
    read_filter,
    read_reminder,
)
from app.simulator.scripting.company import ANA_ID, BEN_ID
from app.simulator.scripting.model import PartyEvent
from tests.unit.simulator.scripting.test_catalogue import START, play_one

ACCOUNT = "908070001"
SESSIONS = "/restapi/v1.0/account/~/telephony/sessions"


def filter_of(text: str) -> object:
    return read_filter(text, ACCOUNT, ANA_ID).text


def wanted(text: str, events: Iterable[PartyEvent]) -> list[PartyEvent]:
    one = read_filter(text, ACCOUNT, ANA_ID)
    return [event for event in events if one.matches(event)]


def subscription(now: datetime = START) -> Subscription:
    return Subscription(
        id="sub",
        owner_id=ANA_ID,
        address="http://hook.test",
        token="secret",
        filters=[read_filter(SESSIONS, ACCOUNT, ANA_ID)],
        disabled=[],
        created_at=now,
        expires_at=now + timedelta(days=7),
    )


# Filters


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        (SESSIONS, f"/restapi/v1.0/account/{ACCOUNT}/telephony/sessions"),
        (
            "/restapi/v1.0/account/~/extension/~/telephony/sessions?direction=Inbound",
            f"/restapi/v1.0/account/{ACCOUNT}/extension/{ANA_ID}/telephony/sessions?direction=Inbound",
        ),
        (
            f"/restapi/v1.0/account/~/extension/{BEN_ID}/presence?detailedTelephonyState=true",
            f"/restapi/v1.0/account/{ACCOUNT}/extension/{BEN_ID}/presence?detailedTelephonyState=true",
        ),
    ],
)
def test_a_tilde_is_expanded_and_the_query_is_kept(text: str, expanded: str) -> None:
    assert filter_of(text) == expanded


@pytest.mark.parametrize("text", ["/restapi/v1.0/account/~/nothing", "", 5, None])
def test_an_unknown_filter_is_refused(text: object) -> None:
    with pytest.raises(Refused) as refusal:
        read_filter(text, ACCOUNT, ANA_ID)
    assert refusal.value.code == "SUB-508"


def test_the_account_filter_matches_all_extensions_and_an_extension_filter_one() -> None:
    events = play_one("blind_transfer").events
    assert wanted(SESSIONS, events) == list(events)
    own = wanted("/restapi/v1.0/account/~/extension/~/telephony/sessions", events)
    assert {event.extension_id for event in own} == {ANA_ID}


def test_filters_can_be_narrowed() -> None:
    events = play_one("inbound_recorded_with_hold").events
    assert {e.party["status"]["code"] for e in wanted(f"{SESSIONS}?statusCode=Hold", events)} == {"Hold"}
    recorded = wanted(f"{SESSIONS}?withRecordings=true", events)
    assert recorded
    assert all("recordings" in e.party for e in recorded)
    assert wanted(f"{SESSIONS}?missedCall=true", events) == []
    assert {e.party["direction"] for e in wanted(f"{SESSIONS}?direction=Inbound", events)} == {"Inbound"}
    number = events[0].party["from"]["phoneNumber"]
    assert len(wanted(f"{SESSIONS}?phoneNumber={number}", events)) == len(events)
    assert wanted(f"{SESSIONS}?phoneNumber=15550000000", events) == []


def test_the_path_of_an_event_names_the_extension_of_its_party() -> None:
    assert event_path(ACCOUNT, ANA_ID, "telephony/sessions").endswith(
        f"/extension/{ANA_ID}/telephony/sessions"
    )
    assert event_path(ACCOUNT, None, "telephony/sessions").endswith(f"/{ACCOUNT}/telephony/sessions")


# Lifetimes


def test_seven_days_are_the_default_and_the_limit() -> None:
    assert lifetime_seconds(None, 1.0, 604800) == 604800
    assert lifetime_seconds(630720000, 1.0, 604800) == 604800
    assert lifetime_seconds(3600, 10.0, 604800) == 360


@pytest.mark.parametrize("asked", [0, -5, "week", True])
def test_an_invalid_lifetime_is_refused(asked: object) -> None:
    with pytest.raises(Refused):
        lifetime_seconds(asked, 1.0, 604800)


@pytest.mark.parametrize("query", ["threshold=400000&interval=60", "threshold=600&interval=400", "x=1"])
def test_reminders_too_close_to_the_lifetime_are_refused(query: str) -> None:
    one = read_filter(f"/restapi/v1.0/subscription/~?{query}", ACCOUNT, ANA_ID)
    with pytest.raises(Refused) as refusal:
        read_reminder([one], 604800, 1.0)
    assert refusal.value.code == "SUB-516"


def test_a_reminder_is_read_from_its_filter() -> None:
    one = read_filter("/restapi/v1.0/subscription/~?threshold=600&interval=60", ACCOUNT, ANA_ID)
    reminder = read_reminder([one], 604800, 10.0)
    assert reminder is not None
    assert (reminder.threshold, reminder.interval) == (60.0, 6.0)


def test_the_response_does_not_contain_the_secret() -> None:
    assert "secret" not in json.dumps(subscription().show("http://platform.test", START))


def test_an_expired_subscription_receives_nothing() -> None:
    one = subscription()
    assert one.may_receive(START + timedelta(days=6))
    assert not one.may_receive(START + timedelta(days=7))
    one.renew(60.0, START + timedelta(days=7))
    assert one.may_receive(START + timedelta(days=7))


# Suspension


def test_only_lasting_failure_suspends() -> None:
    one = subscription()
    for second in range(20):
        assert not one.failed("Read timed out", START + timedelta(seconds=second), 600, 5)
    assert one.failed("Read timed out", START + timedelta(seconds=601), 600, 5)
    shown = one.show("http://platform.test", START)
    assert shown["status"] == "Blacklisted"
    assert shown["blacklistedData"]["reason"] == "Read timed out"


def test_one_success_resets_the_failures() -> None:
    one = subscription()
    one.failed("x", START, 600, 1)
    one.succeeded()
    assert not one.failed("x", START + timedelta(seconds=700), 600, 1)


def test_recovery_reactivates_a_subscription() -> None:
    one = subscription()
    one.suspend("x", START)
    assert not one.may_receive(START)
    one.recover()
    assert one.may_receive(START)
    assert "blacklistedData" not in one.show("http://platform.test", START)


# Handshake

GOOD = {"validation-token": "t", "content-type": "application/json"}


def test_a_good_handshake_passes() -> None:
    check_handshake(WebhookResponse(200, "OK", GOOD, 1024), "t")


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (WebhookResponse(204, "No Content", GOOD, 100), "SUB-525"),
        (WebhookResponse(200, "OK", {"content-type": "application/json"}, 100), "SUB-520"),
        (WebhookResponse(200, "OK", GOOD | {"validation-token": "other"}, 100), "SUB-520"),
        (WebhookResponse(200, "OK", {"validation-token": "t"}, 100), "SUB-525"),
        (WebhookResponse(200, "OK", GOOD | {"content-type": "text/html"}, 100), "SUB-525"),
        (WebhookResponse(200, "OK", GOOD, 1025), "SUB-525"),
    ],
)
def test_a_bad_handshake_is_refused_with_its_reason(response: WebhookResponse, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        check_handshake(response, "t")
    assert (refusal.value.status, refusal.value.code) == (400, code)


# Events


def test_an_event_contains_one_party_and_the_time_of_its_change() -> None:
    event = play_one("inbound_direct").events[3]
    body = session_body(event, "Z")
    assert body["eventTime"] == stamp(event.at, "Z")
    assert [party["id"] for party in body["parties"]] == [event.party["id"]]
    assert body["origin"] == {"type": "Call"}
    assert session_body(event, "+0000")["eventTime"].endswith("+0000")


def test_the_envelope_can_be_nested_as_mobile_pushes_are() -> None:
    envelope = Envelope("7", "/path", datetime(2026, 3, 10, tzinfo=UTC), "sub", ANA_ID)
    plain = json.loads(envelope.wrap({"a": 1}, "Z", pn_apns=False))
    nested = json.loads(envelope.wrap({"a": 1}, "Z", pn_apns=True))
    assert plain["body"] == nested["pn_apns"]["body"] == {"a": 1}
    assert plain["timestamp"] == "2026-03-10T00:00:00.000Z"
    assert "event" not in nested
    assert nested["uuid"] == "7"


def test_presence_covers_extensions_only_and_ends_final() -> None:
    events = play_one("inbound_direct").events
    bodies = [presence_body(event, "Z", number) for number, event in enumerate(events)]
    assert bodies[0] is None
    calls = [body["activeCalls"][0] for body in bodies if body is not None]
    assert [call["telephonyStatus"] for call in calls] == ["Ringing", "Ringing", "CallConnected", "NoCall"]
    assert [call["terminationType"] for call in calls][-1] == "final"


def test_a_session_can_be_read_until_it_ends() -> None:
    call = play_one("inbound_direct")
    session = call.sessions[0]
    during = read_session(call, session.telephony_session_id, session.started_at + timedelta(seconds=10))
    assert during is not None
    assert "sessionId" not in during
    assert [party["status"]["code"] for party in during["parties"]] == ["Answered", "Answered"]
    assert during["parties"][1]["owner"] == {"accountId": ACCOUNT, "extensionId": ANA_ID}
    assert read_session(call, session.telephony_session_id, session.ended_at) is None
