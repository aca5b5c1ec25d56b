"""Insights in the shape that RingCentral's guide "Conversation insights" publishes, read and shown.

People and numbers are invented; fields, types and oddities are theirs.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.calls.insights.model import Version, show
from app.calls.insights.router import RecordingInsights
from app.errors import RingCentralUnreachable
from app.ids import TelephonySessionId
from app.ringcentral.models import Insights, read_insights
from app.ringcentral.protocol.insights import (
    decode_record_insights,
    decode_session_insights,
    record_insights,
    session_insights,
)
from app.ringcentral.wire import Response
from app.webhooks.payloads.notification import InsightsEvent, peek, read_notification
from tests.factories_insights import PARTIES, READY
from tests.fakes.clock import START

SESSION = TelephonySessionId("s-a0c14f2b77d1ez1928b3f4c10z5e6f70000")
RECORD = """
{"title":"Dana Field and Ana Ruiz","domain":"pbx","sourceSessionId":"s-a0c14f2b77d1ez1928b3f4c10z5e6f70000",
"sourceRecordId":"3019664700",
 "callDirection":"Inbound","ownerExtensionId":"711000101","recordingDurationMs":92000,"recordingStartTime":"2026-03-10T18:07:44Z",
 "creationTime":"2026-03-10T18:38:12Z","lastModifiedTime":"2026-03-10T18:38:12Z","rsRecordUri":"https://example.invalid/r/1",
 "speakerInfo":[{"speakerId":"P-2","name":"Ana Ruiz","accountId":"908070001","extensionId":"711000101"},
                {"speakerId":"P-1","name":"Dana Field","accountId":null,"extensionId":null,
                "phoneNumber":"+15550179001"}],
 "insights":{"Transcript":[{"speakerId":"P-2","text":"Good morning.","start":1.2,"end":2.0}],
  "Summary":[{"value":"Order question, solved.","start":0,"end":92}],
  "BulletedSummary":[{"value":"Asked for an invoice","section":"Topics"}],
  "Highlights":[{"speakerId":"P-1","value":"invoice by Friday","start":40.0,"end":44.0}],
  "NextSteps":[{"value":"Send the invoice"}],
  "CallNotes":[{"value":"Wants e-mail"}],"AIScore":[{"value":"8"}],"Sentiment":[{"value":"Positive"}]}}
"""
EVENT = (
    '{"uuid":"8841958329667892286","event":"/ai/ringsense/v1/public/accounts/908070001/domains/pbx/insights",'
    '"timestamp":"2026-03-10T18:38:13.101Z","subscriptionId":"7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111",'
    f'"ownerId":"711000101","body":{RECORD}}}'
)


def answer(body: str, status: int = 200) -> Response:
    return Response.of(status, {"Content-Type": "application/json"}, body.encode(), sent_at=START)


def check(found: Insights) -> None:
    assert found.session_id == SESSION
    assert found.recording_id == "3019664700"
    assert found.last_modified_time == datetime(2026, 3, 10, 18, 38, 12, tzinfo=UTC)
    assert found.raw["insights"]["AIScore"] == [{"value": "8"}]


def test_the_answer_by_recording_is_the_record() -> None:
    check(decode_record_insights(answer(RECORD), "3019664700"))


def test_the_answer_by_session_is_a_list_of_records() -> None:
    body = f'{{"records":[{RECORD}],"paging":{{"perPage":100}}}}'
    (found,) = decode_session_insights(answer(body), SESSION)
    check(found)


def test_an_event_has_the_record_as_its_body() -> None:
    payload = json.loads(EVENT)
    event = read_notification(payload, datetime(2026, 3, 10, 18, 38, 14, tzinfo=UTC))
    assert isinstance(event, InsightsEvent)
    found = read_insights(event.body)
    assert found is not None
    check(found)
    assert (event.telephony_session_id, event.recording_id) == (SESSION, "3019664700")
    assert event.account_id == peek(payload).account_id == "908070001"


def test_it_is_shown_in_the_shape_that_is_described() -> None:
    raw = json.loads(RECORD)
    version = Version(
        telephony_session_id=SESSION, recording_id="3019664700", last_modified_at=READY, raw=raw
    )
    shown = show(version, PARTIES, READY, "webhook")
    described = {field.alias or name for name, field in RecordingInsights.model_fields.items()}
    assert set(shown) == described
    read_back = RecordingInsights.model_validate(shown).model_dump(by_alias=True, exclude_unset=True)
    assert read_back == shown


@pytest.mark.parametrize(
    "record",
    ["{}", '{"domain":"pbx"}', "null", "[]", '"x"', '{"sourceSessionId":"s-other","sourceRecordId":"1"}'],
)
def test_entries_of_a_session_that_cannot_be_its_own_are_dropped(record: str) -> None:
    found = decode_session_insights(answer(f'{{"records":[{record},{RECORD}]}}'), SESSION)
    assert [item.recording_id for item in found if item.recording_id] == ["3019664700"]


@pytest.mark.parametrize("body", ["{}", "[]", "<html>", '{"records":{}}'])
def test_a_response_without_a_list_of_insights_is_unusable(body: str) -> None:
    with pytest.raises(RingCentralUnreachable):
        decode_session_insights(answer(body), SESSION)


def test_insights_of_another_recording_are_unusable() -> None:
    with pytest.raises(RingCentralUnreachable):
        decode_record_insights(answer(RECORD), "1")


def test_every_type_is_requested_by_name_in_the_light_group() -> None:
    request: Any = session_insights(SESSION)
    assert request.url == f"/ai/ringsense/v1/public/accounts/~/domains/pbx/sessions/{SESSION}/insights"
    assert request.group == "Light"
    assert dict.fromkeys(name for name, _ in request.params) == {"insightTypes": None}
    assert {value for _, value in request.params} >= {"Transcript", "Sentiment", "AIScore", "NextSteps"}
    by_record = record_insights("3019664700")
    assert by_record.url == "/ai/ringsense/v1/public/accounts/~/domains/pbx/records/3019664700/insights"
