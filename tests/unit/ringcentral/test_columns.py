"""Whatever RingCentral sends, what is read of it fits its column."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Column, Float, Integer, String

from app.calls.derivation.fields import derive_fields
from app.calls.evidence.facts import SessionFacts
from app.calls.evidence.parties import read_parties
from app.calls.evidence.people import UNKNOWN_COMPANY
from app.calls.evidence.records import state_records
from app.calls.evidence.versions import RecordVersion, end_of
from app.calls.model import Call, Source
from app.db.tables import (
    call_links,
    call_records,
    calls,
    directories,
    extensions,
    insights,
    recordings,
    subscriptions,
)
from app.db.types import UtcDateTime
from app.ids import AccountId, CallId
from app.ringcentral.models import (
    CallRecord,
    read_call_record,
    read_insights,
    read_recording,
    read_subscription,
)
from app.ringcentral.models.directory import AccountInfo, read_account_info, read_directory_entry
from app.values.storable import EARLIEST, LATEST, MAX_INTEGER
from tests.fakes.clock import START

ODD: list[Any] = [
    "x" * 100_000, "\x00" * 300, "\ud800" * 300, "9" * 129, "", " ", None, True, [], {}, 0, -1, 1.5, 2**31,
    2**63, 10**127,
    -(10**127), 10**300, 1e308, -1e308, float("nan"), float("inf"),
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "2026-03-10T18:07:41+25:00",
    "2026-03-10T18:07:41", "2099-12-31T23:59:59Z",
]  # fmt: skip


def record(name: str, value: Any) -> CallRecord:
    read = read_call_record(
        {
            "id": "rec",
            "sessionId": "1",
            "startTime": "2026-03-10T18:07:41Z",
            "result": "Accepted",
            name: value,
        }
    )
    assert isinstance(read, CallRecord)
    return read


def of_call(name: str, field: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        call = Call(
            account_id=AccountId("1"),
            call_id=CallId("call_1"),
            telephony_session_id="s-1",
            started_at=START,
            created_at=START,
            updated_at=START,
        )
        version = RecordVersion(record(name, value), Source.CALL_LOG, START)
        derive_fields(call, read_parties(SessionFacts()), [version], UNKNOWN_COMPANY)
        return getattr(call, field)

    return read


def queue_of(value: Any) -> Any:
    named = {"id": "r", "startTime": "2026-03-10T18:07:41Z", "result": "Abandoned", "to": {"name": value}}
    read = read_call_record(named)
    assert isinstance(read, CallRecord)
    return state_records([RecordVersion(read, Source.CALL_LOG, START)])[0].queue_name


def of(reader: Callable[[Any], Any], name: str, field: str, **fixed: Any) -> Callable[[Any], Any]:
    return lambda value: getattr(reader({**fixed, name: value}), field, None)


def time_zone_of(reader: Callable[[Any], Any], value: Any) -> Any:
    return reader({"id": "1", "regionalSettings": {"timezone": {"name": value}}}).time_zone


def country(name: str, value: Any) -> AccountInfo:
    return read_account_info({"regionalSettings": {"homeCountry": {name: value}}})


READ: list[tuple[Column[Any], Callable[[Any], Any]]] = [
    (calls.c.direction, of_call("direction", "direction")),
    (calls.c.queue_name, queue_of),
    (calls.c.action, of_call("action", "action")),
    (calls.c.result, of_call("result", "result")),
    (calls.c.duration_seconds, of_call("duration", "duration_seconds")),
    (calls.c.started_at, of_call("startTime", "started_at")),
    (calls.c.session_id, lambda value: record("sessionId", value).session_id),
    (calls.c.telephony_session_id, lambda value: record("telephonySessionId", value).telephony_session_id),
    (calls.c.external_number, lambda value: record("from", {"phoneNumber": value}).from_party.phone_number),
    (call_records.c.record_id, lambda value: getattr(read_call_record({"id": value}), "id", None)),
    (call_records.c.last_modified_at, lambda value: record("lastModifiedTime", value).last_modified_time),
    (call_links.c.other, lambda value: record("transferee", {"telephonySessionId": value}).transferee),
    (recordings.c.recording_id, of(read_recording, "id", "id")),
    (recordings.c.type, of(read_recording, "type", "type", id="1")),
    (recordings.c.content_uri, of(read_recording, "contentUri", "content_uri", id="1")),
    (recordings.c.content_type, of(read_recording, "contentType", "content_type", id="1")),
    (recordings.c.duration_seconds, of(read_recording, "duration", "duration_seconds", id="1")),
    (insights.c.telephony_session_id, of(read_insights, "sourceSessionId", "session_id", sourceRecordId="1")),
    (insights.c.recording_id, of(read_insights, "sourceRecordId", "recording_id", sourceSessionId="s-1")),
    (
        insights.c.last_modified_at,
        of(read_insights, "lastModifiedTime", "last_modified_time", sourceSessionId="s-1"),
    ),
    (extensions.c.extension_id, of(read_directory_entry, "id", "id")),
    (extensions.c.number, of(read_directory_entry, "extensionNumber", "extension_number", id="1")),
    (extensions.c.name, of(read_directory_entry, "name", "name", id="1")),
    (extensions.c.email, of(read_directory_entry, "email", "email", id="1")),
    (extensions.c.kind, of(read_directory_entry, "type", "type", id="1")),
    (extensions.c.status, of(read_directory_entry, "status", "status", id="1")),
    (extensions.c.time_zone, lambda value: time_zone_of(read_directory_entry, value)),
    (directories.c.main_number, of(read_account_info, "mainNumber", "main_number")),
    (directories.c.time_zone, lambda value: time_zone_of(read_account_info, value)),
    (directories.c.home_country, lambda value: country("isoCode", value).home_country),
    (directories.c.calling_code, lambda value: country("callingCode", value).calling_code),
    (subscriptions.c.subscription_id, of(read_subscription, "id", "id")),
    (subscriptions.c.status, of(read_subscription, "status", "status", id="1")),
    (subscriptions.c.expires_at, of(read_subscription, "expirationTime", "expiration_time", id="1")),
]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize(("column", "read"), READ, ids=[str(column) for column, _ in READ])
def test_what_is_read_fits_its_column(column: Column[Any], read: Callable[[Any], Any], value: Any) -> None:
    found = read(value)
    if found is None:
        return
    if isinstance(column.type, String):
        assert column.type.length is None or len(found) <= column.type.length
        assert "\x00" not in found
        found.encode()
    elif isinstance(column.type, Integer | Float):
        assert 0 <= found <= MAX_INTEGER
    else:
        assert isinstance(column.type, UtcDateTime)
        assert EARLIEST <= found < LATEST


def test_the_end_of_a_call_can_be_computed_for_any_record() -> None:
    for start in ("2099-12-31T23:59:59Z", "1970-01-01T00:00:00Z"):
        read = read_call_record({"id": "1", "startTime": start, "duration": MAX_INTEGER})
        assert isinstance(read, CallRecord)
        assert end_of([read]) == datetime.fromisoformat(start).astimezone(UTC) + timedelta(
            seconds=MAX_INTEGER
        )
