"""For any input from outside, the decoders return a value or raise the error that they document."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    CredentialsRefused,
    RateLimited,
    RequestRefused,
    RingCentralError,
    RingCentralUnreachable,
)
from app.ids import RecordId, SessionId
from app.ringcentral.models import (
    BadRecord,
    BulkItem,
    CallRecord,
    Recording,
    RecordsPage,
    Subscription,
    TelephonySession,
    Token,
    read_call_record,
)
from app.ringcentral.models.directory import AccountInfo, DirectoryEntry, DirectoryPage
from app.ringcentral.models.fields import read_time
from app.ringcentral.protocol.calls import call_log_by_session, call_records
from app.ringcentral.protocol.directory import decode_account, decode_extension, decode_page
from app.ringcentral.protocol.errors import decode_error, decode_token_error, penalty_of
from app.ringcentral.protocol.multistatus import split_parts
from app.ringcentral.protocol.oauth import decode_token
from app.ringcentral.protocol.recordings import decode_recording
from app.ringcentral.protocol.records import decode_call_records, decode_records_page, decode_session
from app.ringcentral.protocol.subscriptions import decode_subscription, decode_subscriptions
from app.ringcentral.stored_tokens import load_refusal, load_token
from app.ringcentral.wire import Response, read_rate_headers
from app.values.storable import EARLIEST, LATEST, BadJson, decode_json

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
WORDS = st.sampled_from(
    [
        "id", "uri", "records", "paging", "navigation", "nextPage", "page", "perPage", "sessionId",
        "startTime", "duration",
        "result", "from", "to", "phoneNumber", "device", "extension", "legs", "master", "recording",
        "message", "deleted",
        "transferTarget", "telephonySessionId", "errors", "errorCode", "error", "parameterName",
        "permissionName",
        "eventFilters", "disabledFilters", "deliveryMode", "expirationTime", "expiresIn", "blacklistedData",
        "session",
        "parties", "owner", "status", "access_token", "expires_in", "scope", "response", "body", "contentUri",
        "extensionNumber", "name", "firstName", "email", "contact", "mobilePhone", "phoneNumbers",
        "usageType", "account", "mainNumber", "regionalSettings", "homeCountry", "isoCode", "callingCode",
        "timezone",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["2026-03-10T18:07:52.534Z", "CMN-106", "CLG-110", "limited to 7 [view]", "/account/1/call-log/x"]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=8)
BODIES = st.one_of(st.binary(max_size=200), (JSON | OBJECTS).map(lambda value: json.dumps(value).encode()))
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "Retry-After",
            "X-Rate-Limit-Group",
            "X-Rate-Limit-Limit",
            "X-Rate-Limit-Remaining",
            "X-Rate-Limit-Window",
            "RCRequestId",
            "Location",
            "ETag",
        ]
    ),
    st.text(max_size=30)
    | st.floats().map(str)
    | st.sampled_from(["multipart/mixed; boundary=B", "application/json", "Tue, 10 Mar 2026 18:00:09 GMT"]),
)
STATUSES = st.sampled_from([200, 207, 301, 304, 400, 401, 403, 404, 408, 429, 500, 501, 503]) | st.integers(
    100, 599
)
ANSWERS = st.builds(Response.of, STATUSES, HEADERS, BODIES)
IDS = [RecordId("a"), RecordId("b")]

DECODERS: list[tuple[Any, type[Any] | tuple[type[Any], ...]]] = [
    (decode_records_page, RecordsPage),
    (decode_token, Token),
    (decode_recording, Recording),
    (decode_session, TelephonySession),
    (decode_subscription, Subscription),
    (decode_subscriptions, tuple),
    (decode_page, (DirectoryPage, NoneType)),
    (decode_extension, DirectoryEntry),
    (decode_account, AccountInfo),
]


@given(answer=ANSWERS)
def test_a_response_is_decoded_or_unreachable(answer: Response) -> None:
    for decode, kind in DECODERS:
        with suppress(RingCentralUnreachable):
            assert isinstance(decode(answer), kind)


@given(answer=ANSWERS, count=st.integers(1, 2))
def test_a_bulk_response_has_each_id_or_is_unreachable(answer: Response, count: int) -> None:
    ids = IDS[:count]
    try:
        items = decode_call_records(answer, ids)
    except RingCentralUnreachable:
        return
    assert [item.id for item in items] == ids
    assert all(isinstance(item, BulkItem) and (item.record is None) != (item.why is None) for item in items)


@given(answer=ANSWERS)
def test_every_error_answer_becomes_an_error_of_ours(answer: Response) -> None:
    error = decode_error(answer, NOW)
    assert isinstance(error, RingCentralError)
    assert isinstance(error, RateLimited) == (answer.status == 429)
    if isinstance(error, RateLimited):
        assert NOW <= error.retry_at <= NOW + timedelta(days=2)
    penalty = penalty_of(answer, NOW)
    assert (penalty is not None) == (answer.status == 429)


@given(answer=ANSWERS)
def test_a_token_error_concerns_time_or_credentials(answer: Response) -> None:
    error = decode_token_error(answer, NOW)
    assert isinstance(error, RateLimited | RingCentralUnreachable | CredentialsRefused)


@given(answer=ANSWERS)
def test_rate_headers_are_sane_or_absent(answer: Response) -> None:
    rates = read_rate_headers(answer, NOW)
    assert rates.limit is None or rates.limit >= 1
    assert rates.remaining is None or rates.remaining >= 0
    assert rates.window_seconds is None or 0 < rates.window_seconds <= 86_400
    assert rates.retry_after_seconds is None or 0 <= rates.retry_after_seconds <= 86_400


@given(value=JSON | OBJECTS)
def test_a_record_is_read_or_bad_and_kept_unchanged(value: Any) -> None:
    found = read_call_record(value)
    assert isinstance(found, CallRecord | BadRecord)
    assert found.raw is value


@given(body=BODIES)
def test_decoded_json_can_be_stored_in_any_database(body: bytes) -> None:
    try:
        value = decode_json(body)
    except BadJson:
        return
    stored = json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert b"\\u0000" not in stored
    assert json.loads(stored) == value


@given(text=st.text(max_size=40) | st.datetimes().map(datetime.isoformat))
def test_a_time_is_aware_utc_or_nothing(text: str) -> None:
    found = read_time(text)
    assert found is None or found.utcoffset() == timedelta(0)


@given(
    moment=st.datetimes(EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None) - timedelta(seconds=1)),
    zone=st.sampled_from(["Z", "+0000", "+00:00"]),
    spec=st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_every_spelling_of_a_time_is_the_same_moment(moment: datetime, zone: str, spec: str) -> None:
    text = moment.isoformat(timespec=spec) + zone
    assert read_time(text) == datetime.fromisoformat(moment.isoformat(timespec=spec)).replace(tzinfo=UTC)


@given(session_id=st.text(max_size=12))
def test_only_the_number_of_a_call_is_sent_as_a_session(session_id: str) -> None:
    try:
        request = call_log_by_session(SessionId(session_id))
    except RequestRefused:
        assert not (session_id.isascii() and session_id.isdigit() and session_id.strip("0"))
    else:
        assert request.params == (("sessionId", session_id), ("view", "Detailed"))


@given(record_ids=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
def test_ids_stay_in_their_segment(record_ids: list[str]) -> None:
    try:
        request = call_records([RecordId(record_id) for record_id in record_ids])
    except RequestRefused:
        return
    prefix, _, segment = request.url.rpartition("/")
    assert prefix == "/restapi/v1.0/account/~/call-log"
    assert segment.count(",") == len(record_ids) - 1
    assert not set(segment) & set("?#/\\ \r\n")
    assert segment not in {".", ".."}


ENDS = st.sampled_from([b"\r\n", b"\n"])


@given(parts=st.lists(OBJECTS, max_size=5), ends=st.data())
def test_parts_survive_any_mixture_of_line_ends(parts: list[Any], ends: st.DataObject) -> None:
    def end() -> bytes:
        return ends.draw(ENDS)

    statuses = {"response": [{"status": 200} for _ in parts]}
    encoded = [json.dumps(value).encode() for value in (statuses, *parts)]
    body = b"".join(
        b"--B=_1" + end() + b"Content-Type: application/json" + end() + end() + part + end()
        for part in encoded
    )
    body += b"--B=_1--" + b"".join(ends.draw(st.lists(ENDS, max_size=3)))
    for content_type in (
        'multipart/mixed; boundary="B=_1"',
        "Multipart/Mixed;Boundary=B=_1",
        "multipart/mixed",
    ):
        assert split_parts(content_type, body) == encoded


@given(
    content_type=st.text(max_size=40),
    body=st.binary(max_size=200) | st.binary(max_size=50).map(lambda tail: b"--B\r\n" + tail),
)
def test_splitting_never_fails(content_type: str, body: bytes) -> None:
    assert all(part in body for part in split_parts(content_type, body))


@given(dumped=BODIES, fields=JSON)
def test_stored_values_are_read_completely_or_not_at_all(dumped: bytes, fields: Any) -> None:
    token = load_token(dumped)
    assert token is None or load_token(token.dump()) == token
    refusal = load_refusal(fields)
    assert refusal is None or load_refusal(refusal.dump()) == refusal
