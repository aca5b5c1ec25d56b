"""Payloads in the shapes that RingCentral's guides and API description 1.0.46 publish, read by our decoders.

People and numbers are invented; fields, types and oddities are theirs.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from app.errors import PermissionMissing, RateLimited, RequestRefused
from app.ids import RecordId
from app.ringcentral.models import CallRecord, RecordsPage
from app.ringcentral.protocol.errors import TokenRefused, decode_error
from app.ringcentral.protocol.oauth import decode_token
from app.ringcentral.protocol.paging import wants_next_page
from app.ringcentral.protocol.recordings import decode_recording
from app.ringcentral.protocol.records import decode_call_records, decode_records_page
from app.ringcentral.protocol.subscriptions import decode_subscription, decode_subscriptions, has_same_filters
from app.ringcentral.wire import Response
from tests.fakes.clock import START

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)
RCV = "https://platform.ringcentral.com/restapi/v1.0"
ACCOUNT = f"{RCV}/account/908070001"
SESSION = "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000"

TOKEN = """
{"access_token":"EXAMPLE-ACCESS-1","token_type":"bearer","expires_in":3600,
 "refresh_token":"EXAMPLE-REFRESH-1","refresh_token_expires_in":604799,
 "scope":"ReadCallLog ReadCallRecording CallControl SubscriptionWebhook",
 "owner_id":"711000101","endpoint_id":"ep-3f0c"}
"""

PERMISSION = """
{"errorCode":"InsufficientPermissions","message":"[ReadCompanyCallLog] permission required",
 "errors":[{"errorCode":"CMN-408","message":"[ReadCompanyCallLog] permission required",
            "permissionName":"ReadCompanyCallLog"}],
 "permissionName":"ReadCompanyCallLog"}
"""

RATE = """
{"errorCode":"CMN-301","message":"Request rate exceeded",
 "errors":[{"errorCode":"CMN-301","message":"Request rate exceeded"}]}
"""

ACTIVE_CALLS = f"""
{{"uri":"{ACCOUNT}/active-calls?view=Simple&page=1&perPage=100",
 "records":[
  {{"uri":"{ACCOUNT}/extension/711000101/call-log/QX7f14l8Nt_2aVB?view=Simple",
   "id":"QX7f14l8Nt_2aVB","sessionId":"1229016182016","telephonySessionId":"{SESSION}",
   "startTime":"2026-03-10T18:07:41.000Z","type":"Voice","direction":"Inbound","action":"Phone Call",
   "result":"In Progress",
   "to":{{"phoneNumber":"+15550100101","name":"Ana Ruiz","location":"San Mateo, CA"}},
   "from":{{"phoneNumber":"+15550179001","name":"WIRELESS CALLER","location":"San Mateo, CA"}},
   "extension":{{"uri":"{ACCOUNT}/extension/711000101","id":711000101}}}}],
 "paging":{{"page":1,"perPage":100,"pageStart":0,"pageEnd":0}},
 "navigation":{{"firstPage":{{"uri":"{ACCOUNT}/active-calls?view=Simple&page=1&perPage=100"}},
               "lastPage":{{"uri":"{ACCOUNT}/active-calls?view=Simple&page=1&perPage=100"}}}}}}
"""

DETAILED = f"""
{{"uri":"{ACCOUNT}/call-log/QX7f14l8Nt_2aVB?view=Detailed",
 "id":"QX7f14l8Nt_2aVB","sessionId":"1229016182016","telephonySessionId":"{SESSION}",
 "startTime":"2026-03-10T18:07:41.000Z","duration":96,"durationMs":95740,"type":"Voice","direction":"Inbound",
 "action":"Phone Call","result":"Accepted",
 "to":{{"phoneNumber":"+15550100101","name":"Ana Ruiz","location":"San Mateo, CA"}},
 "from":{{"phoneNumber":"+15550179001","name":"Dana Field","location":"San Mateo, CA"}},
 "recording":{{"uri":"{ACCOUNT}/recording/3019664700","id":"3019664700","type":"Automatic",
   "contentUri":"https://media.ringcentral.com/restapi/v1.0/account/908070001/recording/3019664700/content"}},
 "transport":"PSTN","lastModifiedTime":"2026-03-10T18:09:34.336Z",
 "billing":{{"costIncluded":0.0,"costPurchased":0.0}},
 "legs":[
  {{"startTime":"2026-03-10T18:07:41.000Z","duration":96,"type":"Voice","direction":"Inbound",
   "action":"Phone Call","result":"Accepted",
   "to":{{"phoneNumber":"+15550100101","name":"Ana Ruiz"}},
   "from":{{"phoneNumber":"+15550179001","name":"Dana Field"}},
   "extension":{{"uri":"{ACCOUNT}/extension/711000101","id":711000101}},
   "telephonySessionId":"{SESSION}","transport":"PSTN","legType":"Accept","master":true}},
  {{"startTime":"2026-03-10T18:07:44.000Z","duration":93,"type":"Voice","direction":"Outbound",
   "action":"VoIP Call","result":"Accepted","reason":"Accepted","reasonDescription":"(a sentence)",
   "to":{{"phoneNumber":"+15550100101","extensionNumber":"101"}},
   "from":{{"name":"Ana Ruiz","extensionNumber":"101","device":{{"id":"803750084020"}}}},
   "extension":{{"uri":"{ACCOUNT}/extension/711000101","id":711000101}},
   "telephonySessionId":"{SESSION}","transport":"VoIP","legType":"PstnToSip","master":false}}]}}
"""

BOUNDARY = "Boundary_6_695025702_1773165000681"
BULK = (
    f"--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n"
    f'{{"response":[\r\n  {{"href":"{ACCOUNT}/call-log/QX7f14l8Nt_2aVB?view=Simple","status":200,'
    f'"responseDescription":"OK"}},\n  {{"href":"{ACCOUNT}/call-log/QX7nope?view=Simple","status":404,'
    f'"responseDescription":"Not Found"}}]}}\n'
    f"--{BOUNDARY}\nContent-Type: application/json\n\n"
    f'{{"id":"QX7f14l8Nt_2aVB","sessionId":"1229016182016"}}\r\n'
    f"--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n"
    '{"errorCode":"CMN-102","message":"(text)","errors":[{"errorCode":"CMN-102","message":"(text)",'
    '"parameterName":"callRecordId"}],"parameterName":"callRecordId"}\n'
    f"--{BOUNDARY}--\r\n\r\n\n"
)

RECORDING = """
{"id":"3019664700","contentUri":"https://media.ringcentral.com/restapi/v1.0/account/908070001/recording/3019664700/content",
 "contentType":"audio/mpeg","duration":92}
"""

SUBSCRIPTION = f"""
{{"uri":"{RCV}/subscription/7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111",
 "id":"7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111","creationTime":"2026-03-10T17:58:02.101Z","status":"Active",
 "eventFilters":["/restapi/v1.0/account/908070001/telephony/sessions"],
 "expirationTime":"2026-03-17T17:58:02.101Z","expiresIn":604799,
 "deliveryMode":{{"transportType":"WebHook","encryption":false,"address":"https://crm-hook.example.com/rc"}}}}
"""


def answer(body: str, status: int = 200, **headers: str) -> Response:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response.of(status, told, body.encode(), sent_at=START)


def page_of(*records: dict[str, Any], **fields: Any) -> RecordsPage:
    return decode_records_page(answer(json.dumps({"records": list(records)} | fields)))


def test_the_token_answer() -> None:
    token = decode_token(answer(TOKEN))
    assert (token.access_token, token.expires_in_seconds, token.owner_id) == (
        "EXAMPLE-ACCESS-1",
        3600.0,
        "711000101",
    )
    assert token.scopes == {"ReadCallLog", "ReadCallRecording", "CallControl", "SubscriptionWebhook"}
    assert "EXAMPLE" not in repr(token)


def test_a_token_answer_without_a_refresh_token_and_with_newer_fields() -> None:
    newer = {
        "access_token": "A",
        "expires_in": 7199,
        "session_id": "x",
        "session_idle_timeout": 60,
        "owner_id": 711000101,
    }
    token = decode_token(answer(json.dumps(newer)))
    assert (token.expires_in_seconds, token.owner_id, token.scopes) == (7199.0, "711000101", frozenset())


def test_the_refusal_without_the_company_permission() -> None:
    missing = decode_error(answer(PERMISSION, 403), NOW)
    assert isinstance(missing, PermissionMissing)
    assert (missing.code, missing.permission) == ("CMN-408", "ReadCompanyCallLog")


def test_the_refusal_of_an_unknown_token() -> None:
    inner = '{"errorCode":"OAU-213","message":"Token not found"}'
    body = f'{{"errorCode":"TokenInvalid","message":"Token not found","errors":[{inner}]}}'
    assert isinstance(decode_error(answer(body, 401), NOW), TokenRefused)


def test_the_response_over_the_rate_limit() -> None:
    limited = decode_error(answer(RATE, 429, Retry_After="60", X_Rate_Limit_Group="heavy"), NOW)
    assert isinstance(limited, RateLimited)
    assert limited.code == "CMN-301"
    assert NOW + timedelta(seconds=60) < limited.retry_at < NOW + timedelta(seconds=65)


def test_active_calls_of_an_account() -> None:
    page = decode_records_page(answer(ACTIVE_CALLS))
    assert (page.page, page.per_page, page.has_next, page.account_id) == (1, 100, False, "908070001")
    [record] = page.records
    assert (record.id, record.session_id, record.telephony_session_id) == (
        "QX7f14l8Nt_2aVB",
        "1229016182016",
        SESSION,
    )
    assert record.start_time == datetime(2026, 3, 10, 18, 7, 41, tzinfo=UTC)
    assert (record.is_in_progress, record.is_detailed, record.duration_seconds) == (True, False, None)
    assert record.extension_id == "711000101"
    assert (record.from_party.phone_number, record.from_party.name) == ("+15550179001", "WIRELESS CALLER")
    assert record.raw == json.loads(ACTIVE_CALLS)["records"][0]


def test_an_empty_page_without_places_in_its_paging() -> None:
    page = page_of(paging={"page": 1, "perPage": 100}, navigation={"firstPage": {"uri": "x"}})
    assert (page.records, page.page, page.has_next) == ((), 1, False)


def test_pages_whose_last_page_misleads_and_whose_next_page_lacks_the_prefix() -> None:
    navigation = {
        "nextPage": {"uri": "https://platform.ringcentral.com/account/1/call-log?page=2"},
        "lastPage": {"uri": "?page=1"},
    }
    page = page_of({"id": "a"}, paging={"page": 1, "perPage": 100}, navigation=navigation)
    assert wants_next_page(1, page, set())


def test_the_detailed_record() -> None:
    [item] = decode_call_records(answer(DETAILED), [RecordId("QX7f14l8Nt_2aVB")])
    record = item.record
    assert isinstance(record, CallRecord)
    assert (record.result, record.duration_seconds, record.transport) == ("Accepted", 96.0, "PSTN")
    assert record.last_modified_time == datetime(2026, 3, 10, 18, 9, 34, 336000, tzinfo=UTC)
    assert [recording.id for recording in record.recordings] == ["3019664700"]
    assert record.legs is not None
    assert [(leg.leg_type, leg.is_master, leg.extension_id) for leg in record.legs] == [
        ("Accept", True, "711000101"),
        ("PstnToSip", False, "711000101"),
    ]
    assert record.legs[1].from_party.device_id == "803750084020"
    assert record.raw["billing"] == {"costIncluded": 0.0, "costPurchased": 0.0}


def test_the_bulk_answer_with_a_failing_part_and_mixed_line_ends() -> None:
    told = answer(BULK, 207, Content_Type=f"multipart/mixed; boundary={BOUNDARY}")
    found, missing = decode_call_records(told, [RecordId("QX7f14l8Nt_2aVB"), RecordId("QX7nope")])
    assert found.record is not None
    assert found.record.session_id == "1229016182016"
    assert (missing.record, missing.is_missing, missing.why) == (None, True, "CMN-102")


def test_the_bulk_answer_that_an_example_prints_with_status_200() -> None:
    told = answer(BULK, 200, Content_Type=f"multipart/mixed; boundary={BOUNDARY}")
    assert decode_call_records(told, [RecordId("QX7f14l8Nt_2aVB"), RecordId("QX7nope")])[0].record is not None


def test_the_json_form_of_a_bulk_answer() -> None:
    body = [
        {"resourceId": "QX7f14l8Nt_2aVB", "status": 200, "body": json.loads(DETAILED)},
        {"resourceId": "QX7nope", "status": 404, "body": {"errorCode": "CMN-102", "message": "(text)"}},
    ]
    told = answer(json.dumps(body), 207, Content_Type="application/vnd.ringcentral.multipart+json")
    found, missing = decode_call_records(told, [RecordId("QX7f14l8Nt_2aVB"), RecordId("QX7nope")])
    assert found.record is not None
    assert missing.is_missing


def test_an_unknown_record() -> None:
    message = "Resource for parameter [callRecordId] is not found"
    body = f'{{"errorCode":"CMN-102","message":"{message}","parameterName":"callRecordId"}}'
    refused = decode_error(answer(body, 404), NOW)
    assert isinstance(refused, RequestRefused)
    assert (refused.status, refused.code) == (404, "CMN-102")


def test_a_record_of_a_missed_queue_call_of_warm_transfer_and_of_voicemail() -> None:
    page = page_of(
        {
            "id": "m",
            "sessionId": "1",
            "result": "Missed",
            "duration": 0,
            "from": {"name": "Sales - WIRELESS CALLER"},
            "to": {},
        },
        {
            "id": "w",
            "sessionId": "1",
            "transferTarget": {"telephonySessionId": "s-2"},
            "transferee": {"telephonySessionId": "s-3"},
        },
        {
            "id": "v",
            "sessionId": "1",
            "result": "Voicemail",
            "message": {"id": 12, "type": "VoiceMail", "uri": "x"},
        },
        {
            "id": "c",
            "sessionId": "0",
            "shortRecording": True,
            "delegate": {"id": "7", "name": "Ben Cho"},
            "deleted": True,
        },
    )
    missed, warm, voicemail, conference = page.records
    assert (missed.duration_seconds, missed.to_party.phone_number) == (0.0, None)
    assert (warm.transfer_target, warm.transferee) == ("s-2", "s-3")
    assert voicemail.message is not None
    assert (voicemail.message.id, voicemail.message.type) == ("12", "VoiceMail")
    assert (conference.short_recording, conference.delegate_name, conference.is_deleted) == (
        True,
        "Ben Cho",
        True,
    )


def test_ids_that_come_as_text_in_one_place_and_as_numbers_in_another() -> None:
    page = page_of(
        {
            "id": 5,
            "sessionId": 1229016182016,
            "extension": {"id": "711"},
            "legs": [{"extension": {"id": 711}}],
        }
    )
    [record] = page.records
    assert (record.id, record.session_id, record.extension_id) == ("5", "1229016182016", "711")
    assert record.legs is not None
    assert record.legs[0].extension_id == "711"


def test_the_recording_resource() -> None:
    recording = decode_recording(answer(RECORDING))
    assert (recording.id, recording.content_type, recording.duration_seconds) == (
        "3019664700",
        "audio/mpeg",
        92.0,
    )
    assert recording.content_uri is not None
    assert recording.content_uri.startswith("https://media.ringcentral.com/")


def test_the_subscription_answer() -> None:
    subscription = decode_subscription(answer(SUBSCRIPTION))
    assert subscription.is_active
    assert subscription.expiration_time == datetime(2026, 3, 17, 17, 58, 2, 101000, tzinfo=UTC)
    assert subscription.address == "https://crm-hook.example.com/rc"
    assert has_same_filters(["/restapi/v1.0/account/~/telephony/sessions"], subscription.event_filters)


def test_a_subscription_that_is_suspended() -> None:
    suspended = json.loads(SUBSCRIPTION) | {
        "status": "Blacklisted",
        "blacklistedData": {"blacklistedAt": "2026-03-11T10:00:00+0000", "reason": "Read timed out"},
    }
    subscription = decode_subscription(answer(json.dumps(suspended)))
    assert not subscription.is_active
    assert subscription.blacklisted_reason == "Read timed out"
    assert subscription.blacklisted_at == datetime(2026, 3, 11, 10, tzinfo=UTC)


def test_a_list_of_subscriptions_of_mixed_transports() -> None:
    socket = {"id": "ws", "status": "Active", "deliveryMode": {"transportType": "WebSocket"}}
    body = json.dumps({"uri": "x", "records": [json.loads(SUBSCRIPTION), socket]})
    assert [item.is_webhook for item in decode_subscriptions(answer(body))] == [True, False]


def test_the_error_of_a_handshake() -> None:
    body = '{"errorCode":"SUB-525","message":"(text)","errors":[{"errorCode":"SUB-525","message":"(text)"}]}'
    refused = decode_error(answer(body, 400), NOW)
    assert isinstance(refused, RequestRefused)
    assert refused.code == "SUB-525"
