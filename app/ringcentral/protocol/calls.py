"""Requests for calls: Active Calls, the Call Log, its change feed, and live telephony sessions. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.errors import RequestRefused
from app.ids import ExtensionId, RecordId, SessionId, TelephonySessionId
from app.ringcentral.protocol.errors import ParameterExcluded
from app.ringcentral.protocol.requests import get, owner_path, path_segment
from app.ringcentral.wire import HEAVY, LIGHT, Request

BULK_LIMIT = 30
"""Ids in one bulk read. The newest definitions say 50; other bulk endpoints stop at 30."""

MAX_EXTRACTED = 1000
"""Records in the first response of extract sync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveCallsQuery:
    """Filters of Active Calls, all optional. None selects by session, number or time.

    A server may ignore any of them, so the caller has to check the records.
    """

    view: str = "Detailed"
    direction: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    transport: tuple[str, ...] = ()
    page: int = 1
    per_page: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLogQuery:
    """Filters of the Call Log, all optional. `date_from` and `date_to` select by **start** time.

    `transport` and `show_blocked` exist for extensions only, `telephony_session_id` only in the newest API
    definitions. A server ignores what it does not know, so the caller has to check the records.
    """

    date_from: datetime | None = None
    date_to: datetime | None = None
    view: str = "Detailed"
    direction: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    transport: tuple[str, ...] = ()
    recording_type: str | None = None
    extension_number: str | None = None
    phone_number: str | None = None
    telephony_session_id: TelephonySessionId | None = None
    show_blocked: bool | None = None
    show_deleted: bool | None = None
    page: int = 1
    per_page: int = 1000


def active_calls(query: ActiveCallsQuery, *, extension_id: ExtensionId | None = None) -> Request:
    """Request one page of recent calls of the account, or of one extension.

    A server may ignore every parameter, `page` included: see `paging.wants_next_page`.
    """
    path, route = owner_path(extension_id)
    single = {"view": query.view, "page": str(query.page), "perPage": str(query.per_page)}
    return get(f"{path}/active-calls", f"{route}/active-calls", HEAVY, _params(single, query))


def call_log(query: CallLogQuery, *, extension_id: ExtensionId | None = None) -> Request:
    """Request one page of the Call Log."""
    path, route = owner_path(extension_id)
    return get(f"{path}/call-log", f"{route}/call-log", HEAVY, _params(_call_log_fields(query), query))


def call_log_by_session(
    session_id: SessionId, *, extension_id: ExtensionId | None = None, view: str = "Detailed"
) -> Request:
    """Request the records of one session. Any parameter other than `sessionId` and `view` is answered with
    CLG-110.

    Raises RequestRefused for anything but a numeric id, and for the "0" of conferences.
    """
    if not re.fullmatch(r"[0-9]{1,32}", session_id) or not session_id.strip("0"):
        raise RequestRefused("sessionId must be the numeric id of one call")
    path, route = owner_path(extension_id)
    return get(f"{path}/call-log", f"{route}/call-log", HEAVY, (("sessionId", session_id), ("view", view)))


def call_records(
    ids: Sequence[RecordId], *, extension_id: ExtensionId | None = None, view: str = "Detailed"
) -> Request:
    """Request records by id, at most BULK_LIMIT. One id and several are answered in different forms."""
    path, route = owner_path(extension_id)
    joined = ",".join(path_segment(record_id) for record_id in ids)
    if not joined:
        raise RequestRefused("no record ids")
    return get(f"{path}/call-log/{joined}", f"{route}/call-log/{{callRecordId}}", HEAVY, (("view", view),))


def call_log_changes(token: str | None, date_from: datetime | None = None) -> Request:
    """Request what changed in the account's Call Log since `token` or, without one, since `date_from`
    (default: an hour).

    Some tenants do not have this endpoint (404). Records come in the order of their last change.
    """
    path, route = owner_path()
    params: tuple[tuple[str, str], ...]
    if token is not None:
        params = (("syncType", "ISync"), ("syncToken", token))
    else:
        since = (("dateFrom", _time(date_from)),) if date_from is not None else ()
        params = (("syncType", "FSync"), ("recordCount", str(MAX_EXTRACTED)), ("view", "Detailed"), *since)
    return get(f"{path}/call-log-extract-sync", f"{route}/call-log-extract-sync", HEAVY, params)


def telephony_session(session_id: TelephonySessionId) -> Request:
    """Request a live session; 404 means that it is over. Does not count against the Heavy group."""
    path, route = owner_path()
    tail = "/telephony/sessions/"
    return get(f"{path}{tail}{path_segment(session_id)}", f"{route}{tail}{{telephonySessionId}}", LIGHT)


def without_excluded(request: Request, refusal: ParameterExcluded) -> Request | None:
    """Return the request without the parameter that CLG-110 names; None if it names none that was sent."""
    present = {name for name, _ in request.params} - {"sessionId"}
    excluded = next((name for name in refusal.names if name in present), None)
    if excluded is None:
        return None
    return replace(request, params=tuple(pair for pair in request.params if pair[0] != excluded))


def _call_log_fields(query: CallLogQuery) -> dict[str, str | None]:
    return {
        "dateFrom": _time(query.date_from) if query.date_from else None,
        # RingCentral cuts fractions off, which would end the range too early. So the end is rounded up.
        "dateTo": _time(query.date_to + timedelta(microseconds=999_999)) if query.date_to else None,
        "view": query.view,
        "recordingType": query.recording_type,
        "extensionNumber": query.extension_number,
        "phoneNumber": query.phone_number.removeprefix("+") if query.phone_number else None,
        "telephonySessionId": query.telephony_session_id,
        "showBlocked": _flag(query.show_blocked),
        "showDeleted": _flag(query.show_deleted),
        "page": str(query.page),
        "perPage": str(query.per_page),
    }


def _params(
    single: Mapping[str, str | None], query: ActiveCallsQuery | CallLogQuery
) -> tuple[tuple[str, str], ...]:
    many = {"direction": query.direction, "type": query.type, "transport": query.transport}
    return (
        *((name, value) for name, value in single.items() if value is not None),
        *((name, value) for name, values in many.items() for value in values),
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _flag(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()
