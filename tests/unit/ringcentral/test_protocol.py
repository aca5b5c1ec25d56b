"""The protocol without a client: what responses mean, and how requests are built."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.errors import (
    CredentialsRefused,
    FeatureMissing,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralError,
    RingCentralUnreachable,
)
from app.ids import ExtensionId, RecordId, SessionId
from app.ringcentral.models import BadRecord, CallRecord, RecordsPage, read_call_record, read_session
from app.ringcentral.models.fields import read_time
from app.ringcentral.ports import Silence
from app.ringcentral.protocol.calls import CallLogQuery, call_log, call_log_changes, call_records
from app.ringcentral.protocol.errors import (
    ParameterExcluded,
    SyncTokenRefused,
    TokenRefused,
    TooManyIds,
    decode_error,
    penalty_of,
)
from app.ringcentral.protocol.multistatus import first_boundary, split_parts
from app.ringcentral.protocol.oauth import token_by_jwt
from app.ringcentral.protocol.paging import is_repeated_page, only_session, wants_next_page
from app.ringcentral.protocol.records import decode_call_records, decode_records_page, decode_sync
from app.ringcentral.protocol.requests import redirected
from app.ringcentral.protocol.subscriptions import create_subscription, has_same_filters, renew_subscription
from app.ringcentral.wire import Response, read_error, read_rate_headers
from app.values.storable import decode_json

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
SEEN = {RecordId("a")}
RCV = "https://platform.ringcentral.com"


def answer(status: int, body: Any = None, **headers: str) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response.of(status, told, content, sent_at=NOW)


def record(record_id: str, **fields: Any) -> CallRecord:
    decoded = read_call_record({"id": record_id} | fields)
    assert isinstance(decoded, CallRecord)
    return decoded


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"errorCode": "OAU-128"}, TokenRefused),
        (401, {"errorCode": "TokenInvalid", "errors": [{"errorCode": "OAU-213"}]}, TokenRefused),
        (401, {"errorCode": "OAU-129"}, TokenRefused),
        (401, {}, TokenRefused),
        (401, {"errorCode": "OAU-165"}, CredentialsRefused),
        (401, {"errorCode": "CMN-405"}, RequestRefused),
        (
            403,
            {"errorCode": "InsufficientPermissions", "errors": [{"errorCode": "CMN-401"}]},
            PermissionMissing,
        ),
        (403, {"errorCode": "InsufficientPermissions"}, PermissionMissing),
        (403, {"errorCode": "CMN-402"}, PermissionMissing),
        (403, {"errorCode": "CMN-404"}, RequestRefused),
        (403, {"errorCode": "CMN-403"}, FeatureMissing),
        (403, {"errorCode": "InsufficientPermissions", "errors": [{"errorCode": "CMN-109"}]}, FeatureMissing),
        (403, {"errorCode": "SUB-505"}, RequestRefused),
        (404, {"errorCode": "CMN-102"}, RequestRefused),
        (400, {"errorCode": "CLG-110"}, ParameterExcluded),
        (400, {"errorCode": "CLG-104"}, SyncTokenRefused),
        (400, {"errorCode": "CMN-101", "errors": [{"errorCode": "CLG-101"}]}, SyncTokenRefused),
        (400, {"errorCode": "CMN-106"}, TooManyIds),
        (429, {"errorCode": "CMN-301"}, RateLimited),
        (429, {}, RateLimited),
        (408, {}, RingCentralUnreachable),
        (500, {"errorCode": "CMN-201"}, RingCentralUnreachable),
        (503, {"errorCode": "CMN-201"}, RingCentralUnreachable),
        (501, {"errorCode": "CMN-202"}, RequestRefused),
        (304, {}, RequestRefused),
    ],
)
def test_errors_are_classified_by_status_and_code(
    status: int, body: Any, kind: type[RingCentralError]
) -> None:
    assert type(decode_error(answer(status, body), NOW)) is kind


def test_a_numbered_code_has_precedence_over_a_word_on_either_level() -> None:
    inner = answer(
        403,
        {"errorCode": "InsufficientPermissions", "errors": [{"errorCode": "CMN-408", "permissionName": "P"}]},
    )
    outer = answer(
        403,
        {"errorCode": "CMN-408", "permissionName": "P", "errors": [{"errorCode": "InsufficientPermissions"}]},
    )
    for refusal in (decode_error(inner, NOW), decode_error(outer, NOW)):
        assert isinstance(refusal, PermissionMissing)
        assert (refusal.code, refusal.permission) == ("CMN-408", "P")


def test_a_permission_is_also_read_from_the_message() -> None:
    body = {
        "errorCode": "InsufficientPermissions",
        "errors": [
            {
                "errorCode": "CMN-401",
                "message": "In order to call this API endpoint, application needs to have [ReadCallLog] "
                "permission",
            }
        ],
    }
    missing = decode_error(answer(403, body), NOW)
    assert isinstance(missing, PermissionMissing)
    assert missing.permission == "ReadCallLog"


def test_errors_carry_the_request_id_and_mask_numbers() -> None:
    body = {"errorCode": "CMN-101", "message": "Parameter [phoneNumber] value +15550179001 is invalid"}
    refused = decode_error(answer(400, body, RCRequestId="abc"), NOW)
    assert refused.request_id == "abc"
    assert "5550179001" not in refused.detail
    assert "phoneNumber" in refused.detail


def test_the_limit_of_a_bulk_read_is_read_from_its_text() -> None:
    for text in ("Bulk request is limited to 20 entries", "limited to [20] entries (CMN-106)"):
        refused = decode_error(answer(400, {"errorCode": "CMN-106", "message": text}), NOW)
        assert isinstance(refused, TooManyIds)
        assert refused.limit == 20


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "12"}, 12.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"RETRY_AFTER": "Tue, 10 Mar 2026 18:00:09 GMT"}, 9.0),
        ({"Retry_After": "soon"}, 60.0),
        ({"Retry_After": "-5"}, 60.0),
        ({"Retry_After": "999999999"}, 86_400.0),
        ({}, 60.0),
    ],
)
def test_a_429_gives_the_time_of_the_next_try(headers: dict[str, str], seconds: float) -> None:
    limited = decode_error(answer(429, {}, **headers), NOW)
    assert isinstance(limited, RateLimited)
    waited = (limited.retry_at - NOW).total_seconds()
    assert seconds < waited <= seconds * 1.05


@pytest.mark.parametrize(
    ("code", "reach"),
    [
        ("CMN-301", Silence.BUCKET),
        ("CMN-302", Silence.BUCKET),
        ("CMN-303", Silence.BUCKET),
        ("CMN-310", Silence.EVERYTHING),
        ("CMN-304", Silence.REQUEST),
        ("X", Silence.BUCKET),
    ],
)
def test_a_429_silences_as_much_as_its_code_says(code: str, reach: Silence) -> None:
    penalty = penalty_of(answer(429, {"errorCode": code}), NOW, penalty_seconds=6)
    assert penalty is not None
    assert penalty.reach is reach
    assert penalty.until <= NOW + timedelta(seconds=6.5)


def test_other_responses_silence_nothing() -> None:
    assert penalty_of(answer(503, {}, Retry_After="9"), NOW) is None


def test_rate_headers_are_case_insensitive_and_garbage_is_ignored() -> None:
    good = answer(
        200,
        {},
        x_rate_limit_GROUP="light",
        X_Rate_Limit_Limit="50.0",
        X_RATE_LIMIT_REMAINING="0",
        x_rate_limit_window="5.5",
    )
    rates = read_rate_headers(good, NOW)
    assert (rates.group, rates.limit, rates.remaining, rates.window_seconds) == ("Light", 50, 0, 5.5)
    bad = answer(
        200,
        {},
        X_Rate_Limit_Limit="0",
        X_Rate_Limit_Remaining="many",
        X_Rate_Limit_Window="-1",
        Retry_After="nan",
    )
    rates = read_rate_headers(bad, NOW)
    assert (rates.group, rates.limit, rates.remaining, rates.window_seconds) == (None, None, None, None)
    assert rates.retry_after_seconds is None
    assert set(rates.ignored) == {
        "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-window", "retry-after",
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    ["999999999999", "10001", "10000000", "9" * 300, "0", "-1", "nan", "inf", "1e9", "10, 10", "10,000", "",
    "٣", "0x10"],
)  # fmt: skip
def test_an_absurd_limit_is_ignored_and_named(value: str) -> None:
    rates = read_rate_headers(answer(200, {}, X_Rate_Limit_Limit=value), NOW)
    assert (rates.limit, rates.ignored) == (None, ("x-rate-limit-limit",))


def test_two_different_limits_are_ignored() -> None:
    pairs = [
        ("X-Rate-Limit-Limit", "10"),
        ("x-rate-limit-limit", "50"),
        ("X-Rate-Limit-Window", "60"),
        ("X-Rate-Limit-Window", "60"),
    ]
    rates = read_rate_headers(Response.of(200, pairs, sent_at=NOW), NOW)
    assert (rates.limit, rates.window_seconds, rates.ignored) == (None, 60.0, ("x-rate-limit-limit",))


def test_more_remaining_than_the_limit_is_ignored() -> None:
    rates = read_rate_headers(answer(200, {}, X_Rate_Limit_Limit="10", X_Rate_Limit_Remaining="11"), NOW)
    assert (rates.limit, rates.remaining, rates.ignored) == (10, None, ("x-rate-limit-remaining",))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("86400", 86_400.0),
        ("86401", 86_400.0),
        ("9" * 300, 86_400.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 -0000", None),
        ("0", None),
        ("tomorrow", None),
        ("-5", None),
    ],
)
def test_a_wait_is_limited_to_a_day_and_zero_is_none(value: str, seconds: float | None) -> None:
    assert read_rate_headers(answer(429, {}, Retry_After=value), NOW).retry_after_seconds == seconds


def test_a_next_page_is_wanted_while_pages_bring_new_records() -> None:
    first, second = record("a"), record("b")
    assert wants_next_page(1, RecordsPage(sent_at=NOW, records=(first,), page=1, has_next=True), set())
    assert not wants_next_page(1, RecordsPage(sent_at=NOW, records=(first,), page=1, has_next=False), set())
    assert wants_next_page(2, RecordsPage(sent_at=NOW, records=(first, second), page=2, has_next=True), SEEN)


def test_a_server_that_ignores_the_page_is_detected() -> None:
    same = RecordsPage(sent_at=NOW, records=(record("a"),), page=1, has_next=True)
    assert is_repeated_page(2, same, SEEN)
    assert is_repeated_page(2, RecordsPage(sent_at=NOW, records=(record("a"),), page=2, has_next=True), SEEN)
    assert is_repeated_page(2, RecordsPage(sent_at=NOW, page=2, has_next=True), SEEN)
    assert is_repeated_page(2, RecordsPage(sent_at=NOW, records=(record("b"),), page=1), SEEN)
    assert not is_repeated_page(1, RecordsPage(sent_at=NOW, page=None), set())


def test_only_the_presence_of_next_page_counts() -> None:
    body = {"records": [], "navigation": {"firstPage": {"uri": "x"}, "lastPage": {"uri": "page=1"}}}
    assert not decode_records_page(answer(200, body)).has_next
    body["navigation"] = {"nextPage": {"uri": "/account/1/call-log?page=2"}, "lastPage": {"uri": "page=1"}}
    assert decode_records_page(answer(200, body)).has_next


def test_one_bad_record_does_not_affect_its_neighbours() -> None:
    page = decode_records_page(
        answer(200, {"records": [{"id": "a"}, None, {"sessionId": "1"}, {"id": 7, "from": {}}]})
    )
    assert [item.id for item in page.records] == ["a", "7"]
    assert page.bad == (BadRecord(None, "not an object"), BadRecord({"sessionId": "1"}, "no id"))


def test_the_account_is_read_from_the_addresses() -> None:
    uri = f"{RCV}/restapi/v1.0/account/908070001/active-calls?page=1"
    assert decode_records_page(answer(200, {"uri": uri, "records": []})).account_id == "908070001"
    inner = {
        "records": [{"id": "a", "uri": f"{RCV}/restapi/v1.0/account/12/extension/3/call-log/a?view=Simple"}]
    }
    assert decode_records_page(answer(200, inner)).account_id == "12"
    tilde = {"uri": "/restapi/v1.0/account/~/call-log", "records": []}
    assert decode_records_page(answer(200, tilde)).account_id is None


def test_a_record_keeps_unknown_fields_and_words() -> None:
    raw = {"id": "a", "result": "Teleported", "action": "Beam", "somethingNew": [1], "to": None, "legs": None}
    found = record("a", **raw)
    assert (found.result, found.action, found.raw["somethingNew"]) == ("Teleported", "Beam", [1])
    assert not found.is_in_progress
    assert found.legs is None
    assert found.to_party.phone_number is None


@pytest.mark.parametrize("result", ["In Progress", "in progress ", None])
def test_a_record_without_a_result_is_in_progress(result: str | None) -> None:
    assert record("a", result=result).is_in_progress


def test_a_record_without_an_id_is_identified_by_its_address() -> None:
    found = read_call_record({"uri": f"{RCV}/restapi/v1.0/account/1/extension/2/call-log/QX7f?view=Simple"})
    assert isinstance(found, CallRecord)
    assert found.id == "QX7f"


def test_recordings_that_record_and_legs_repeat_count_once() -> None:
    one, two = {"id": "1", "type": "Automatic"}, {"id": 2}
    found = record("a", recording=one, legs=[{"recording": one}, {"recording": two}, {}])
    assert [item.id for item in found.recordings] == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-10T18:07:52.534Z", datetime(2026, 3, 10, 18, 7, 52, 534000, UTC)),
        ("2026-03-10T18:07:52.534+0000", datetime(2026, 3, 10, 18, 7, 52, 534000, UTC)),
        ("2026-03-10T18:07:52Z", datetime(2026, 3, 10, 18, 7, 52, 0, UTC)),
        ("2026-03-10T10:07:52-08:00", datetime(2026, 3, 10, 18, 7, 52, 0, UTC)),
        ("2026-03-10T18:07:52", datetime(2026, 3, 10, 18, 7, 52, 0, UTC)),
        ("2026-03-10", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("yesterday", None),
        (1773165000681, None),
        (None, None),
    ],
)
def test_times_are_read_leniently_as_utc(text: Any, moment: datetime | None) -> None:
    found = read_time(text)
    assert found == moment
    assert found is None or found.tzinfo is UTC


def test_unstorable_json_is_cleaned() -> None:
    assert decode_json(b'["a\\u0000b", "\\ud83d", "\\ud83d\\ude00", NaN, 1e999, 1.5]') == [
        "a\ufffdb",
        "\ufffd",
        "😀",
        None,
        None,
        1.5,
    ]
    assert decode_json(b'{"n\\u0000": {"\\udc00": "\xff"}}') == {"n\ufffd": {"\ufffd": "\ufffd"}}
    assert decode_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_a_session_is_read_flat_and_wrapped() -> None:
    flat = {
        "id": "s-1",
        "parties": [{"id": "p-1", "owner": {"extensionId": 7}, "status": {"code": "Answered"}}],
    }
    for value in (flat, {"session": flat}):
        found = read_session(value)
        assert found is not None
        assert [(party.extension_id, party.status_code) for party in found.parties] == [("7", "Answered")]


def test_the_call_log_is_requested_with_every_filter() -> None:
    query = CallLogQuery(
        direction=("Inbound",),
        type=("Voice", "Fax"),
        transport=("PSTN",),
        recording_type="All",
        phone_number="+15550179001",
        show_blocked=False,
        show_deleted=True,
        page=2,
        per_page=250,
    )
    request = call_log(query, extension_id=ExtensionId("7"))
    assert request.url == "/restapi/v1.0/account/~/extension/7/call-log"
    assert request.params == (
        ("view", "Detailed"),
        ("recordingType", "All"),
        ("phoneNumber", "15550179001"),
        ("showBlocked", "false"),
        ("showDeleted", "true"),
        ("page", "2"),
        ("perPage", "250"),
        ("direction", "Inbound"),
        ("type", "Voice"),
        ("type", "Fax"),
        ("transport", "PSTN"),
    )


def test_secrets_of_a_request_are_not_in_its_repr() -> None:
    token = token_by_jwt("app", "hidden", "hidden-too")
    subscription = create_subscription(["f"], "https://hook.example.com", "hidden", 60)
    shown = f"{token!r} {subscription!r}"
    assert "hidden" not in shown
    assert "Basic" not in shown


def test_filters_mean_the_same_with_their_ids_expanded() -> None:
    asked = [
        "/restapi/v1.0/account/~/extension/~/presence?detailedTelephonyState=true&sipData=true",
        "/restapi/v1.0/account/~/telephony/sessions",
    ]
    told = [
        "/restapi/v1.0/account/908070001/telephony/sessions",
        "/restapi/v1.0/account/908070001/extension/711/presence?sipData=true&detailedTelephonyState=true",
    ]
    assert has_same_filters(asked, told, own_extension_id="711")
    assert not has_same_filters(asked, told, own_extension_id="712")
    assert not has_same_filters(asked, told[:1], own_extension_id="711")


def test_records_of_other_sessions_are_dropped() -> None:
    page = RecordsPage(
        sent_at=NOW, records=(record("a", sessionId=5), record("b", sessionId="6"), record("c"))
    )
    assert [item.id for item in only_session(page, SessionId("5")).records] == ["a"]


BULK = (
    b"--B_1\r\nContent-Type: application/json\r\n\r\n"
    b'{"response":[{"status":200},{"status":404},{"status":200},{"status":200}]}\n'
    b'--B_1\nContent-Type: application/json\n\n{"id":"a"}\r\n'
    b'--B_1\r\nContent-Type: application/json\n\r\n{"errorCode":"CMN-102"}\n'
    b"--B_1\n\nnot json\n"
    b"--B_1--\r\n\n\r\n"
)
IDS = [RecordId(name) for name in ("a", "b", "c", "d")]


def test_a_multipart_answer_gives_each_id_its_outcome() -> None:
    told = Response.of(200, {"Content-Type": 'multipart/mixed; boundary="B_1"'}, BULK, sent_at=NOW)
    items = decode_call_records(told, IDS)
    assert [(item.id, item.status, item.record is not None) for item in items] == [
        ("a", 200, True),
        ("b", 404, False),
        ("c", 200, False),
        ("d", 200, False),
    ]
    assert [item.why for item in items] == [None, "CMN-102", "no readable part", "no readable part"]


def test_an_undeclared_boundary_is_found() -> None:
    assert len(split_parts("multipart/mixed", BULK)) == 4
    assert len(split_parts("application/json", BULK.removesuffix(b"--B_1--\r\n\n\r\n"))) == 4


def test_the_search_for_a_boundary_reads_each_line_once() -> None:
    blanks = b" " * 300_000
    lines = iter([b"--" + blanks + b"x\n", b"--" + blanks, b"--B" + blanks + b"\r\n", b"--C\n"])
    assert first_boundary(lines) == b"B"
    assert list(lines) == [b"--C\n"]
    assert split_parts("multipart/mixed", b"--" + blanks) == []


def test_a_list_form_gives_each_id_its_outcome() -> None:
    body = [
        {"resourceId": "b", "status": 404, "body": {"errorCode": "CMN-102"}},
        {"resourceId": "a", "status": 200, "body": {"id": "a"}},
        5,
    ]
    items = decode_call_records(answer(207, body), [RecordId("b"), RecordId("a"), RecordId("c")])
    assert [(item.is_missing, item.record is not None) for item in items] == [
        (True, False),
        (False, True),
        (False, False),
    ]


def test_the_response_to_one_id_is_the_record_itself() -> None:
    [item] = decode_call_records(answer(200, {"id": "a"}), IDS[:1])
    assert item.record is not None
    [other] = decode_call_records(answer(200, {"id": "z"}), IDS[:1])
    assert (other.record, other.why) == (None, "not the record asked for")


def test_a_bulk_response_of_unknown_form_cannot_be_used() -> None:
    for body in (b"", b"<html>", b'{"id": "a"}'):
        with pytest.raises(RingCentralUnreachable):
            decode_call_records(answer(207, body), IDS)


def test_a_change_follows_a_redirect_only_if_its_method_is_preserved() -> None:
    request = renew_subscription("s")
    moved = answer(302, {}, Location="/else")
    assert redirected(request, f"{RCV}/x", moved) is None
    kept = redirected(request, f"{RCV}/x", answer(308, {}, Location="/else"))
    assert kept is not None
    assert kept.url == f"{RCV}/else"
    assert redirected(request, f"{RCV}/x", answer(308, {})) is None


def test_the_oauth_form_of_an_error_is_read() -> None:
    body = {
        "error": "invalid_grant",
        "error_description": "expired",
        "errors": [{"errorCode": "OAU-210", "message": "m"}],
    }
    found = read_error(answer(400, body))
    assert found.codes == ("OAU-210", "invalid_grant")
    bare = read_error(answer(400, {"error": "invalid_client", "error_description": "who?"}))
    assert (bare.code, bare.text) == ("invalid_client", "who?")


def test_an_empty_bulk_read_is_refused() -> None:
    with pytest.raises(RequestRefused):
        call_records([])


def test_a_bulk_answer_without_its_list_of_statuses_is_read_by_position_and_id() -> None:
    body = b'--B\n\n{"id":"b"}\n--B\n\n{"errorCode":"CMN-102"}\n--B--'
    items = decode_call_records(
        Response.of(207, {"Content-Type": "multipart/mixed; boundary=B"}, body, sent_at=NOW), IDS[:2]
    )
    assert [(item.record is not None, item.why) for item in items] == [
        (False, "not the record asked for"),
        (True, None),
    ]


def test_a_full_sync_says_from_when_and_how_much() -> None:
    request = call_log_changes(None, NOW)
    assert request.url == "/restapi/v1.0/account/~/call-log-extract-sync"
    assert dict(request.params) == {
        "syncType": "FSync",
        "recordCount": "1000",
        "view": "Detailed",
        "dateFrom": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert "dateFrom" not in dict(call_log_changes(None).params)


def test_a_sync_with_a_token_has_no_other_parameters() -> None:
    request = call_log_changes("t", NOW)
    assert dict(request.params) == {"syncType": "ISync", "syncToken": "t"}


def test_a_sync_returns_records_a_token_and_whether_there_are_more() -> None:
    body = {
        "uri": "https://platform.example.com/restapi/v1.0/account/908070001/call-log-extract-sync",
        "records": [{"id": "r1"}, "nonsense"],
        "syncInfo": {"syncType": "ISync", "syncToken": "next", "newerRecordsExist": True},
    }
    read = decode_sync(answer(200, body))
    assert [record.id for record in read.records] == ["r1"]
    assert (read.token, read.has_newer, len(read.bad), read.account_id) == ("next", True, 1, "908070001")
    del body["syncInfo"]["newerRecordsExist"]  # type: ignore[attr-defined]
    assert decode_sync(answer(200, body)).has_newer is False


@pytest.mark.parametrize(
    "body", [{}, {"records": []}, {"records": [], "syncInfo": {}}, {"syncInfo": {"syncToken": "t"}}]
)
def test_a_sync_without_records_or_token_cannot_be_used(body: dict[str, object]) -> None:
    with pytest.raises(RingCentralUnreachable):
        decode_sync(answer(200, body))


def test_a_reminder_filter_is_the_same_with_its_expanded_id() -> None:
    asked = [
        "/restapi/v1.0/account/~/telephony/sessions",
        "/restapi/v1.0/subscription/~?threshold=3600&interval=600",
    ]
    answered = [
        "/restapi/v1.0/subscription/7d2c6f10-0b5e?interval=600&threshold=3600",
        "/restapi/v1.0/account/908070001/telephony/sessions",
    ]
    assert has_same_filters(asked, answered)


@pytest.mark.parametrize("code", ["CMN-401", "CMN-402", "CMN-408", "CMN-419"])
def test_a_missing_permission_is_named(code: str) -> None:
    body = {
        "errorCode": code,
        "message": "x",
        "errors": [{"errorCode": code, "permissionName": "ReadCallLog"}],
    }
    refusal = decode_error(answer(403, body), NOW)
    assert isinstance(refusal, PermissionMissing)
    assert (refusal.code, refusal.permission) == (code, "ReadCallLog")
