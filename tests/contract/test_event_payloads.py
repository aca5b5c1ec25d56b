"""Event payloads letter for letter as RingCentral's guides and published streams show them, ids invented.

The sequences A to E are those that every reader of the event stream has to survive.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.calls.evidence.facts import SessionFacts
from app.calls.model import Outcome
from app.webhooks.folding.ending import EndingAt, Live, Over, judge_end
from app.webhooks.payloads.notification import PresenceEvent, TelephonyEvent, read_notification
from tests.derived import Seen

T = "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000"
P = "p-a0c14f2b77d1ez1928b3f4c10z5e6f70000"
ACCOUNT_PATH = "/restapi/v1.0/account/908070001/telephony/sessions"
EXTENSION_PATH = "/restapi/v1.0/account/908070001/extension/{}/telephony/sessions"

FIRST = """
{"uuid":"7841958329667892286","event":"/restapi/v1.0/account/908070001/telephony/sessions",
"timestamp":"2026-03-10T18:07:41.085Z","subscriptionId":"7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111",
"ownerId":"711000101","body":{"sequence":2,"sessionId":"1229016182016","telephonySessionId":"T",
"serverId":"10.0.0.1.TAM","eventTime":"2026-03-10T18:07:41.012Z","parties":[{"accountId":"908070001",
"id":"P-1","direction":"Outbound","to":{"phoneNumber":"+15550100101"},"from":{"phoneNumber":"+15550179001",
"name":"Dana Field"},"status":{"code":"Setup","rcc":false},"park":{},"missedCall":false,"standAlone":false,
"muted":false}],"origin":{"type":"Call"}}}
"""

A = """[
{"sequence":3,"eventTime":"2026-03-10T18:07:41.034Z","parties":[{"extensionId":"711000101","id":"P-2","direction":"Inbound","to":{"phoneNumber":"+15550100101","name":"Ana Ruiz","extensionId":"711000101"},"from":{"phoneNumber":"+15550179001"},"status":{"code":"Setup"}}]},
{"sequence":4,"eventTime":"2026-03-10T18:07:41.310Z","parties":[{"extensionId":"711000101","id":"P-2","direction":"Inbound","status":{"code":"Proceeding"}}]},
{"sequence":5,"eventTime":"2026-03-10T18:07:44.020Z","parties":[{"extensionId":"711000101","id":"P-2","direction":"Inbound","status":{"code":"Answered"},"recordings":[{"id":"3019664700","active":true}]}]},
{"sequence":6,"eventTime":"2026-03-10T18:07:44.041Z","parties":[{"id":"P-1","direction":"Outbound","status":{"code":"Answered"}}]},
{"sequence":7,"eventTime":"2026-03-10T18:08:10.500Z","parties":[{"extensionId":"711000101","id":"P-2","direction":"Inbound","status":{"code":"Hold"},"recordings":[{"id":"3019664700","active":true}]}]},
{"sequence":8,"eventTime":"2026-03-10T18:08:21.400Z","parties":[{"extensionId":"711000101","id":"P-2","direction":"Inbound","status":{"code":"Answered"},"recordings":[{"id":"3019664700","active":true}]}]},
{"sequence":9,"eventTime":"2026-03-10T18:09:16.740Z","parties":[{"extensionId":"711000101","id":"P-2","direction":"Inbound","status":{"code":"Disconnected"},"recordings":[{"id":"3019664700","active":false}]}]},
{"sequence":10,"eventTime":"2026-03-10T18:09:16.752Z","parties":[{"id":"P-1","direction":"Outbound","status":{"code":"Disconnected"}}]}]"""

B = """[
{"sequence":2,"eventTime":"2026-03-10T18:20:00.010Z","parties":[{"id":"P-1","direction":"Outbound","from":{"phoneNumber":"+15550179001"},"to":{"phoneNumber":"+15550100900"},"status":{"code":"Setup"}}]},
{"sequence":3,"eventTime":"2026-03-10T18:20:00.030Z","parties":[{"id":"P-2","extensionId":"711000900","direction":"Inbound","status":{"code":"Setup"}}]},
{"sequence":4,"eventTime":"2026-03-10T18:20:00.150Z","parties":[{"id":"P-1","direction":"Outbound","status":{"code":"Answered"}}]},
{"sequence":5,"eventTime":"2026-03-10T18:20:03.400Z","parties":[{"id":"P-3","extensionId":"711000101","direction":"Inbound","queueCall":true,"status":{"code":"Proceeding"},"uiCallInfo":{"primary":{"type":"QueueName","value":"Sales"}}}]},
{"sequence":6,"eventTime":"2026-03-10T18:20:03.402Z","parties":[{"id":"P-4","extensionId":"711000102","direction":"Inbound","queueCall":true,"status":{"code":"Proceeding"}}]},
{"sequence":7,"eventTime":"2026-03-10T18:20:09.100Z","parties":[{"id":"P-3","extensionId":"711000101","direction":"Inbound","queueCall":true,"status":{"code":"Answered"}}]},
{"sequence":8,"eventTime":"2026-03-10T18:20:09.105Z","parties":[{"id":"P-2","extensionId":"711000900","direction":"Inbound","status":{"code":"Disconnected","reason":"AgentAnswered"}}]},
{"sequence":9,"eventTime":"2026-03-10T18:20:09.110Z","parties":[{"id":"P-4","extensionId":"711000102","direction":"Inbound","queueCall":true,"status":{"code":"Disconnected","reason":"Pickup"}}]},
{"sequence":10,"eventTime":"2026-03-10T18:21:40.700Z","parties":[{"id":"P-1","direction":"Outbound","status":{"code":"Disconnected"}}]},
{"sequence":11,"eventTime":"2026-03-10T18:21:40.712Z","parties":[{"id":"P-3","extensionId":"711000101","direction":"Inbound","queueCall":true,"status":{"code":"Disconnected"}}]}]"""

C = """[
{"sequence":6,"eventTime":"2026-03-10T18:30:40.000Z","parties":[{"id":"P-2","extensionId":"711000101","direction":"Inbound","status":{"code":"Disconnected","reason":"BlindTransfer","rcc":false}}]},
{"sequence":7,"eventTime":"2026-03-10T18:30:40.000Z","parties":[{"id":"P-3","extensionId":"711000102","direction":"Inbound","status":{"code":"Proceeding"}}]},
{"sequence":8,"eventTime":"2026-03-10T18:30:45.200Z","parties":[{"id":"P-3","extensionId":"711000102","direction":"Inbound","status":{"code":"Answered"}}]},
{"sequence":9,"eventTime":"2026-03-10T18:32:01.900Z","parties":[{"id":"P-3","extensionId":"711000102","direction":"Inbound","status":{"code":"Disconnected"}}]},
{"sequence":10,"eventTime":"2026-03-10T18:32:01.915Z","parties":[{"id":"P-1","direction":"Outbound","status":{"code":"Disconnected"}}]}]"""

D = """[
{"sequence":4,"eventTime":"2026-03-10T18:40:00.300Z","parties":[{"id":"P-2","extensionId":"711000101","direction":"Inbound","status":{"code":"Proceeding"},"missedCall":false}]},
{"sequence":5,"eventTime":"2026-03-10T18:40:25.300Z","parties":[{"id":"P-2","extensionId":"711000101","direction":"Inbound","status":{"code":"VoiceMail"},"missedCall":true}]},
{"sequence":6,"eventTime":"2026-03-10T18:40:25.320Z","parties":[{"id":"P-1","direction":"Outbound","status":{"code":"Answered"}}]},
{"sequence":7,"eventTime":"2026-03-10T18:40:52.000Z","parties":[{"id":"P-2","extensionId":"711000101","direction":"Inbound","status":{"code":"Disconnected","reason":"Voicemail"},"missedCall":true}]},
{"sequence":8,"eventTime":"2026-03-10T18:40:52.011Z","parties":[{"id":"P-1","direction":"Outbound","status":{"code":"Disconnected"}}]}]"""

E = """[
{"sequence":9,"sessionId":"1229016199016","telephonySessionId":"s-a0c14f2b77d1ez1928b60aa11z5e6f90000","eventTime":"2026-03-10T18:50:10.000Z","parties":[{"id":"p-a0c14f2b77d1ez1928b60aa11z5e6f90000-1","extensionId":"711000101","direction":"Outbound","status":{"code":"Gone","reason":"Conference","peerId":{"sessionId":"0","telephonySessionId":"s-a0c14f2b77d1ez1928b60ab70z5e7000000","partyId":"p-a0c14f2b77d1ez1928b60ab70z5e7000000-2"}}}],"origin":{"type":"Call"}}]"""

PRESENCE = """
{"uuid":"61fa2f05-5679-4c57-a1d4-000000000001","event":"/restapi/v1.0/account/908070001/extension/711000101/presence?detailedTelephonyState=true",
 "timestamp":"2026-03-10T18:09:17.101Z","subscriptionId":"7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111","ownerId":"711000101",
 "body":{"extensionId":711000101,"telephonyStatus":"NoCall","sequence":34470,"presenceStatus":"Available","userStatus":"Available",
  "dndStatus":"TakeAllCalls","allowSeeMyPresence":true,"ringOnMonitoredCall":false,"pickUpCallsOnHold":false,"totalActiveCalls":1,
  "activeCalls":[{"id":"448115d0d81241fc","direction":"Inbound","from":"+15550179001","fromName":"Dana Field","to":"+15550100101","toName":"Ana Ruiz",
   "telephonyStatus":"NoCall","terminationType":"final","sessionId":"1229016182016",
   "telephonySessionId":"T","partyId":"P-2","startTime":"2026-03-10T18:07:41.012Z"}]}}
"""


def load(text: str) -> Any:
    """Parse a sample, `T` and `P` written out."""
    return json.loads(text.replace('"T"', f'"{T}"').replace('"P-', f'"{P}-'))


def deliveries(bodies: str, session_id: str) -> list[dict[str, Any]]:
    """Put sample bodies into envelopes, under the path of the party as published streams have it."""
    told = []
    for body in load(bodies):
        extension = body["parties"][0].get("extensionId")
        told.append(
            {
                "uuid": f"{session_id}-{body['sequence']}",
                "event": EXTENSION_PATH.format(extension) if extension else ACCOUNT_PATH,
                "timestamp": body["eventTime"],
                "subscriptionId": "7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111",
                "ownerId": "711000101",
                "body": {"sessionId": session_id, "telephonySessionId": T, **body},
            }
        )
    return told


def view_of(payloads: list[dict[str, Any]]) -> Seen:
    facts = SessionFacts()
    for payload in payloads:
        event = read_notification(payload, datetime.fromisoformat(payload["timestamp"]))
        assert isinstance(event, TelephonyEvent | PresenceEvent)
        assert event.account_id == "908070001"
        facts = facts.union(event.calls[0].facts)
    return Seen(facts)


def verdicts(payloads: list[dict[str, Any]], silence: float = 3.0) -> list[type]:
    """Judge after each delivery, as if nothing came for `silence` seconds."""
    kinds = []
    for length in range(1, len(payloads) + 1):
        view = view_of(payloads[:length]).view
        assert view.last_news_at is not None
        kinds.append(type(judge_end(view, view.last_news_at + timedelta(seconds=silence), 3.0, 30.0)))
    return kinds


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-10T{text}").replace(tzinfo=UTC)


def sample_a() -> list[dict[str, Any]]:
    return [load(FIRST), *deliveries(A, "1229016182016")]


def test_sequence_a_an_answered_inbound_call_with_hold_and_recording() -> None:
    told = sample_a()
    assert verdicts(told) == [Live] * 8 + [Over]
    view = view_of(told)
    assert (view.direction, view.outcome, view.answered_by) == ("Inbound", Outcome.ANSWERED, "711000101")
    assert (view.telephony_session_id, view.session_id) == (T, "1229016182016")
    assert view.answered_at == moment("18:07:44.020")
    assert view.last_terminal_at == moment("18:09:16.752")
    assert view.recording_ids == ("3019664700",)
    assert view.external_number == "+15550179001"
    assert view.hold_seconds == pytest.approx(10.9)


def test_sequence_b_a_queue_call_that_one_of_two_members_answers() -> None:
    told = deliveries(B, "1229016190016")
    assert verdicts(told) == [Live] * 8 + [EndingAt, Over]
    view = view_of(told)
    assert (view.outcome, view.answered_by, view.queue_name) == (Outcome.ANSWERED, "711000101", "Sales")
    assert view.answered_at == moment("18:20:09.100")


def test_sequence_c_a_blind_transfer_is_over_only_when_the_second_agent_is_done() -> None:
    begin = [*sample_a()[:3], *sample_a()[3:5]]
    told = [payload for payload in begin if payload["body"]["sequence"] < 6] + deliveries(C, "1229016182016")
    assert verdicts(told) == [Live] * 8 + [Over]
    assert view_of(told).last_terminal_at == moment("18:32:01.915")


def test_sequence_c_without_its_beginning_waits_for_the_transfer_to_be_taken() -> None:
    told = deliveries(C, "1229016182016")
    assert verdicts(told) == [EndingAt, Live, Live, Over, Over]


def test_sequence_d_voicemail_is_alive_and_nobody_has_answered() -> None:
    told = deliveries(D, "1229016182016")
    assert verdicts(told) == [Live, Live, Live, Live, Over]
    view = view_of(told)
    assert (view.outcome, view.answered_at) == (Outcome.VOICEMAIL, None)


def test_sequence_e_a_party_gone_to_a_conference_ends_its_session_and_links_it() -> None:
    told = deliveries(E, "1229016199016")
    assert verdicts(told) == [Over]
    (link,) = view_of(told).related
    assert (link.kind, link.session_id) == ("conference", None)
    assert link.telephony_session_id == "s-a0c14f2b77d1ez1928b60ab70z5e7000000"


def test_the_presence_sample_tells_the_end_of_the_same_call() -> None:
    view = view_of([load(PRESENCE)])
    assert (view.telephony_session_id, view.session_id) == (T, "1229016182016")
    assert view.started_at == moment("18:07:41.012")
    assert view.last_terminal_at == moment("18:09:17.101")
    assert verdicts([load(PRESENCE)]) == [Over]


def test_presence_joins_the_call_of_the_session_stream_and_takes_nothing_away() -> None:
    both, alone = view_of([*sample_a(), load(PRESENCE)]), view_of(sample_a())
    assert [party.history for party in both.parties] == [party.history for party in alone.parties]
    assert (both.last_terminal_at, both.last_news_at) == (alone.last_terminal_at, alone.last_news_at)
