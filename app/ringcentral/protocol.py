"""RingCentral's API as functions of plain values. Does no input or output and reads no clock.

Builders return a `Request`; `decode_…` functions read an `Answer` of the matching request that was a success and
raise RingCentralUnreachable if it cannot be used; `decode_error` makes the error of any other answer.

Facts are from RingCentral's guides ("Rate limits", "Errors", "Finding active calls", "Call log", "Batch
requests", "Creating webhooks", "JWT flow") and its API description 1.0.46.
"""

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin

from app.errors import (
    RequestRefused,
    RingCentralUnreachable,
)
from app.ids import AccountId, ExtensionId, RecordId, SessionId, TelephonySessionId
from app.ringcentral.models import (
    BadRecord,
    BulkItem,
    CallRecord,
    Insights,
    Recording,
    RecordsPage,
    RecordsSync,
    Subscription,
    TelephonySession,
    Token,
    account_in_uri,
    read_call_record,
    read_count,
    read_insights,
    read_recording,
    read_session,
    read_subscription,
    read_token,
)
from app.ringcentral.multistatus import ItemAnswer, read_items
from app.ringcentral.protocol_errors import ParameterExcluded
from app.ringcentral.wire import (
    AUTH,
    HEAVY,
    LIGHT,
    MEDIUM,
    Request,
    Response,
    decode_object,
)
from app.values.storable import BadJson

API = "/restapi/v1.0"
SUBSCRIPTIONS = f"{API}/subscription"
CONTENT_ROUTE = "{contentUri}"
INSIGHTS = "/ai/ringsense/v1/public/accounts/~/domains/pbx"
INSIGHT_TYPES = (
    "Transcript",
    "Summary",
    "BulletedSummary",
    "Highlights",
    "NextSteps",
    "AIScore",
    "CallNotes",
    "Sentiment",
)
"""A kind of insight is answered only if it was asked for (guide "Conversation insights")."""

BULK_LIMIT = 30
"""Ids in one bulk read: newest definitions say 50, other bulk endpoints stop at 30."""

MOST_EXTRACTED = 1000
MOST_SYNCED = 250
"""Records in the first answer of extract sync and of sync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveCallsQuery:
    """Filters of Active Calls, all optional; there is none by session, number or time.

    A server may drop them all, so records have to be checked again by the caller.
    """

    view: str = "Detailed"
    direction: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    transport: tuple[str, ...] = ()
    page: int = 1
    per_page: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLogQuery:
    """Filters of the call-log list, all optional. `date_from` and `date_to` filter by **start** time.

    `transport` and `show_blocked` exist at extension level alone, `telephony_session_id` only in the newest
    API definitions. What a server does not know it ignores, so records have to be checked again by the caller.
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


def token_by_jwt(client_id: str, client_secret: str, assertion: str) -> Request:
    """Ask for a token with the service user's JWT credential (guide "JWT flow")."""
    basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    return Request(
        method="POST",
        url="/restapi/oauth/token",
        route="/restapi/oauth/token",
        group=AUTH,
        headers=_Secret({"Authorization": f"Basic {basic}"}),
        form={"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion},
    )


def active_calls(
    page: int,
    per_page: int,
    *,
    extension_id: ExtensionId | None = None,
    account_id: str = "~",
    view: str = "Detailed",
) -> Request:
    """Ask for one page of recent calls of the account, or of one extension.

    There is no filter by session. A server may drop every parameter, `page` too: see `wants_next_page`.
    """
    query = ActiveCallsQuery(view=view, page=page, per_page=per_page)
    return active_calls_by(query, extension_id=extension_id, account_id=account_id)


def active_calls_by(
    query: ActiveCallsQuery, *, extension_id: ExtensionId | None = None, account_id: str = "~"
) -> Request:
    """Ask for one page of recent calls that meet filters."""
    path, route = _owner(account_id, extension_id)
    many = {"direction": query.direction, "type": query.type, "transport": query.transport}
    params = (
        ("view", query.view),
        ("page", str(query.page)),
        ("perPage", str(query.per_page)),
        *((name, value) for name, values in many.items() for value in values),
    )
    return _get(f"{path}/active-calls", f"{route}/active-calls", HEAVY, params)


def call_log(
    query: CallLogQuery, *, extension_id: ExtensionId | None = None, account_id: str = "~"
) -> Request:
    """Ask for one page of the call log."""
    path, route = _owner(account_id, extension_id)
    return _get(f"{path}/call-log", f"{route}/call-log", HEAVY, _call_log_params(query))


def call_log_by_session(
    session_id: SessionId,
    *,
    extension_id: ExtensionId | None = None,
    account_id: str = "~",
    view: str = "Detailed",
) -> Request:
    """Ask the call log for one session: `sessionId` and `view` and nothing else, or CLG-110 comes back.

    Raises RequestRefused, without asking anybody, for what is no such id: `s-…`, or the "0" of conferences.
    """
    if not re.fullmatch(r"[0-9]{1,32}", session_id) or not session_id.strip("0"):
        raise RequestRefused("sessionId takes the numeric id of one call")
    path, route = _owner(account_id, extension_id)
    return _get(f"{path}/call-log", f"{route}/call-log", HEAVY, (("sessionId", session_id), ("view", view)))


def call_records(
    ids: Sequence[RecordId],
    *,
    extension_id: ExtensionId | None = None,
    account_id: str = "~",
    view: str = "Detailed",
) -> Request:
    """Ask for records by id, at most BULK_LIMIT of them; one id gives another form of answer than several."""
    path, route = _owner(account_id, extension_id)
    joined = ",".join(_segment(record_id) for record_id in ids)
    if not joined:
        raise RequestRefused("no record ids")
    return _get(f"{path}/call-log/{joined}", f"{route}/call-log/{{callRecordId}}", HEAVY, (("view", view),))


def call_log_changes(
    token: str | None, date_from: datetime | None = None, *, view: str = "Detailed", account_id: str = "~"
) -> Request:
    """Ask extract sync what changed in the whole account since a token, or, without one, from `date_from` on.

    Not on every tenant: 404. Lists records in the order of their last change, without a date those of an hour.
    """
    path, route = _owner(account_id, None)
    params = _sync_params(token, date_from, view, MOST_EXTRACTED)
    return _get(f"{path}/call-log-extract-sync", f"{route}/call-log-extract-sync", HEAVY, params)


def call_log_sync(
    token: str | None,
    date_from: datetime | None = None,
    *,
    extension_id: ExtensionId | None = None,
    view: str = "Detailed",
    account_id: str = "~",
) -> Request:
    """Ask the older kind of sync, at most 250 changes; extensions have it too. A token keeps its view."""
    path, route = _owner(account_id, extension_id)
    params = _sync_params(token, date_from, view, MOST_SYNCED)
    return _get(f"{path}/call-log-sync", f"{route}/call-log-sync", HEAVY, params)


def recording(recording_id: str, *, account_id: str = "~") -> Request:
    """Ask for a recording's metadata."""
    path, route = _owner(account_id, None)
    return _get(f"{path}/recording/{_segment(recording_id)}", f"{route}/recording/{{recordingId}}", HEAVY)


def recording_content(content_uri: str, byte_range: str | None = None) -> Request:
    """Ask for a recording's sound at the address that RingCentral gave; whoever sends this checks the host."""
    # Bytes are counted: they must not come packed.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    headers |= {"Range": byte_range} if byte_range else {}
    return Request(method="GET", url=content_uri, route=CONTENT_ROUTE, group=HEAVY, headers=headers)


def telephony_session(session_id: TelephonySessionId, *, account_id: str = "~") -> Request:
    """Ask whether a session is still going on: 404 means that it is over. Costs nothing of Heavy."""
    path, route = _owner(account_id, None)
    tail = "/telephony/sessions/"
    return _get(f"{path}{tail}{_segment(session_id)}", f"{route}{tail}{{telephonySessionId}}", LIGHT)


def session_insights(session_id: TelephonySessionId) -> Request:
    """Ask what conversation analysis says of a call's recordings. Takes the `telephonySessionId` alone.

    404 until there is something; 403 without the product's licence, its app scope or the user's permission.
    """
    path, route = f"{INSIGHTS}/sessions/{_segment(session_id)}", f"{INSIGHTS}/sessions/{{sourceSessionId}}"
    return _get(f"{path}/insights", f"{route}/insights", LIGHT, _INSIGHT_PARAMS)


def record_insights(recording_id: str) -> Request:
    """Ask what conversation analysis says of one recording; answers as `session_insights`."""
    path, route = f"{INSIGHTS}/records/{_segment(recording_id)}", f"{INSIGHTS}/records/{{sourceRecordId}}"
    return _get(f"{path}/insights", f"{route}/insights", LIGHT, _INSIGHT_PARAMS)


_INSIGHT_PARAMS = tuple(("insightTypes", kind) for kind in INSIGHT_TYPES)


def list_subscriptions() -> Request:
    """Ask for all subscriptions of this user and app, of every transport."""
    return _get(SUBSCRIPTIONS, SUBSCRIPTIONS, LIGHT)


def get_subscription(subscription_id: str) -> Request:
    return _get(f"{SUBSCRIPTIONS}/{_segment(subscription_id)}", f"{SUBSCRIPTIONS}/{{subscriptionId}}", LIGHT)


def create_subscription(
    event_filters: Sequence[str], address: str, verification_token: str, expires_in_seconds: int
) -> Request:
    """Ask for a webhook subscription. The answer waits until RingCentral has shaken hands with `address`.

    Not repeatable: a lost answer may hide a subscription that was made, and two deliver every event twice.
    """
    delivery = {"transportType": "WebHook", "address": address, "verificationToken": verification_token}
    return Request(
        method="POST",
        url=SUBSCRIPTIONS,
        route=SUBSCRIPTIONS,
        group=MEDIUM,
        json=_Secret(
            {"eventFilters": list(event_filters), "deliveryMode": delivery, "expiresIn": expires_in_seconds}
        ),
        is_repeatable=False,
        is_slow=True,
    )


def renew_subscription(subscription_id: str) -> Request:
    """Ask for a new lifetime; whether it is the old one or the default is read back from the answer."""
    return _change("POST", subscription_id, "/renew", LIGHT)


def update_subscription(
    subscription_id: str, event_filters: Sequence[str], expires_in_seconds: int | None = None
) -> Request:
    """Ask for other filters and, as every update does, a new lifetime. The address cannot be changed."""
    body: dict[str, Any] = {"eventFilters": list(event_filters)}
    if expires_in_seconds is not None:
        body["expiresIn"] = expires_in_seconds
    return replace(_change("PUT", subscription_id, "", MEDIUM), json=body)


def delete_subscription(subscription_id: str) -> Request:
    return replace(_change("DELETE", subscription_id, "", MEDIUM), is_slow=False)


def without_excluded(request: Request, refusal: ParameterExcluded) -> Request | None:
    """Return the request without the parameter that CLG-110 names; None if it names none that was sent."""
    present = {name for name, _ in request.params} - {"sessionId"}
    excluded = next((name for name in refusal.names if name in present), None)
    if excluded is None:
        return None
    return replace(request, params=tuple(pair for pair in request.params if pair[0] != excluded))


def redirected(request: Request, sent_to: str, answer: Response) -> Request | None:
    """Return the request that a redirect of `sent_to` asks for, or None if it asks for none that may be sent.

    A request that changes something is repeated only on 307 and 308, which keep its method. The address may be
    foreign: whoever sends it checks.
    """
    location = answer.headers.get("location")
    if not location or (request.method != "GET" and answer.status not in {307, 308}):
        return None
    try:
        return replace(request, url=urljoin(sent_to, location), params=())
    except ValueError:
        return None


def wants_next_page(asked: int, answer: RecordsPage, seen_ids: Collection[RecordId]) -> bool:
    """Say whether to ask for page `asked + 1`. `seen_ids` are those of the pages before this one."""
    return answer.has_next and not is_repeated_page(asked, answer, seen_ids)


def is_repeated_page(asked: int, answer: RecordsPage, seen_ids: Collection[RecordId]) -> bool:
    """Whether the answer is some other page than the one asked for, or brings no record that is new.

    A server that drops `page` answers page 1 for ever.
    """
    if answer.page is not None and answer.page != asked:
        return True
    if not answer.records:
        return asked > 1
    return all(record.id in seen_ids for record in answer.records)


def only_session(page: RecordsPage, session_id: SessionId) -> RecordsPage:
    """Drop records of other sessions: a server that does not know a filter ignores it."""
    return replace(page, records=tuple(record for record in page.records if record.session_id == session_id))


def decode_token(answer: Response) -> Token:
    token = read_token(_object(answer))
    if token is None:
        raise _unusable(answer, "the token answer has no usable token")
    return token


def decode_records_page(answer: Response) -> RecordsPage:
    """Read a page of Active Calls or of the call log. One bad record does not harm its neighbours."""
    top = _object(answer)
    if not isinstance(top.get("records"), list):
        raise _unusable(answer, "the list has no records")
    decoded = [read_call_record(item) for item in top["records"]]
    paging, navigation = _inner(top, "paging"), _inner(top, "navigation")
    return RecordsPage(
        sent_at=answer.sent_at,
        records=tuple(item for item in decoded if isinstance(item, CallRecord)),
        bad=tuple(item for item in decoded if isinstance(item, BadRecord)),
        page=read_count(paging.get("page")),
        per_page=read_count(paging.get("perPage")),
        has_next=bool(navigation.get("nextPage")),
        account_id=_account_of(top),
    )


def decode_sync(answer: Response) -> RecordsSync:
    """Read an answer of either kind of sync; without a token to go on from it cannot be used."""
    top = _object(answer)
    info = _inner(top, "syncInfo")
    token = info.get("syncToken")
    if not isinstance(token, str) or not token or not isinstance(top.get("records"), list):
        raise _unusable(answer, "the sync has no records or no token")
    decoded = [read_call_record(item) for item in top["records"]]
    return RecordsSync(
        sent_at=answer.sent_at,
        records=tuple(item for item in decoded if isinstance(item, CallRecord)),
        bad=tuple(item for item in decoded if isinstance(item, BadRecord)),
        token=token,
        has_newer=info.get("newerRecordsExist") is True,
        account_id=_account_of(top),
    )


def decode_call_records(answer: Response, ids: Sequence[RecordId]) -> list[BulkItem]:
    """Read the answer to `call_records(ids)`: one item per id, in that order, whatever form the answer has."""
    try:
        if len(ids) == 1 and "multipart/" not in answer.content_type.lower():
            items = _single(answer)
        else:
            items = read_items(answer.content_type, answer.body)
    except BadJson as error:
        raise _unusable(answer, str(error)) from error
    records = [read_call_record(item.body) for item in items]
    by_id = {record.id: record for record in records if isinstance(record, CallRecord)}
    return [
        _bulk_item(record_id, answer.sent_at, by_id.get(record_id), items, at)
        for at, record_id in enumerate(ids)
    ]


def decode_recording(answer: Response) -> Recording:
    found = read_recording(_object(answer))
    if found is None:
        raise _unusable(answer, "the recording has no id")
    return found


def decode_session(answer: Response) -> TelephonySession:
    found = read_session(_object(answer))
    if found is None:
        raise _unusable(answer, "the session has no id")
    return found


def decode_session_insights(answer: Response, session_id: TelephonySessionId) -> tuple[Insights, ...]:
    """Read the insights of a session, one per recording; what names another session is dropped."""
    records = _object(answer).get("records")
    if not isinstance(records, list):
        raise _unusable(answer, "the list has no records")
    named = ({"sourceSessionId": session_id} | item for item in records if isinstance(item, dict))
    found = [read_insights(item) for item in named]
    return tuple(item for item in found if item and item.session_id == session_id)


def decode_record_insights(answer: Response, recording_id: str) -> Insights:
    found = read_insights({"sourceRecordId": recording_id} | dict(_object(answer)))
    if found is None or found.recording_id != recording_id:
        raise _unusable(answer, "the insights are of another recording")
    return found


def decode_subscription(answer: Response) -> Subscription:
    found = read_subscription(_object(answer))
    if found is None:
        raise _unusable(answer, "the subscription has no id")
    return found


def decode_subscriptions(answer: Response) -> tuple[Subscription, ...]:
    """Read the list; entries without an id are left out, those of other transports are not."""
    records = _object(answer).get("records")
    if not isinstance(records, list):
        raise _unusable(answer, "the list has no records")
    return tuple(found for found in map(read_subscription, records) if found)


def normal_filter(event_filter: str, own_extension_id: str | None = None) -> str:
    """Spell an event filter as we ask for it: RingCentral answers with `~` expanded to real ids.

    The account's id becomes `~`, and so do the subscription's in a reminder filter and `own_extension_id` (the token's owner); query parameters are sorted.
    """
    path, _, query = event_filter.strip().partition("?")
    path = re.sub(r"/account/[0-9]+(?=/|$)", "/account/~", path.rstrip("/"))
    path = re.sub(r"(?<=/restapi/v1\.0/subscription/)[^/]+$", "~", path)
    if own_extension_id:
        path = re.sub(rf"/extension/{re.escape(own_extension_id)}(?=/|$)", "/extension/~", path)
    ordered = urlencode(sorted(parse_qsl(query, keep_blank_values=True)), safe="~+:")
    return f"{path}?{ordered}" if ordered else path


def has_same_filters(
    asked: Collection[str], answered: Collection[str], own_extension_id: str | None = None
) -> bool:
    """Whether two sets of event filters mean the same, whatever their order and spelling."""
    ours, theirs = ({normal_filter(item, own_extension_id) for item in side} for side in (asked, answered))
    return ours == theirs


class _Secret(dict[str, Any]):
    """A mapping whose content must not show in logs and tracebacks."""

    def __repr__(self) -> str:
        return "{…}"


def _get(url: str, route: str, group: str, params: tuple[tuple[str, str], ...] = ()) -> Request:
    return Request(method="GET", url=url, route=route, group=group, params=params)


def _change(method: str, subscription_id: str, tail: str, group: str) -> Request:
    """Change a subscription. RingCentral may shake hands again meanwhile, so it may take long."""
    return Request(
        method=method,
        url=f"{SUBSCRIPTIONS}/{_segment(subscription_id)}{tail}",
        route=f"{SUBSCRIPTIONS}/{{subscriptionId}}{tail}",
        group=group,
        is_slow=True,
    )


def _owner(account_id: str, extension_id: ExtensionId | None) -> tuple[str, str]:
    path, route = f"{API}/account/{_segment(account_id)}", f"{API}/account/{{accountId}}"
    if extension_id is None:
        return path, route
    return f"{path}/extension/{_segment(extension_id)}", f"{route}/extension/{{extensionId}}"


def _segment(value: str) -> str:
    """Quote an id for a path; one that would climb out of it names nothing that exists."""
    if value in {"", ".", ".."}:
        raise RequestRefused("not an id that can be asked for")
    try:
        return quote(value, safe="~")
    except UnicodeEncodeError as error:
        raise RequestRefused("not an id that can be asked for") from error


def _call_log_params(query: CallLogQuery) -> tuple[tuple[str, str], ...]:
    single = {
        "dateFrom": _time(query.date_from) if query.date_from else None,
        # Fractions are cut off, which would move the end of the range before what was asked for.
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
    many = {"direction": query.direction, "type": query.type, "transport": query.transport}
    return (
        *((name, value) for name, value in single.items() if value is not None),
        *((name, value) for name, values in many.items() for value in values),
    )


def _sync_params(
    token: str | None, date_from: datetime | None, view: str, most: int
) -> tuple[tuple[str, str], ...]:
    if token is not None:
        return (("syncType", "ISync"), ("syncToken", token))
    since = (("dateFrom", _time(date_from)),) if date_from is not None else ()
    return (("syncType", "FSync"), ("recordCount", str(most)), ("view", view), *since)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _flag(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _single(answer: Response) -> list[ItemAnswer]:
    """Read an answer to one id: the record, or one element of the JSON form."""
    try:
        return [ItemAnswer(answer.status, decode_object(answer))]
    except BadJson:
        return read_items(answer.content_type, answer.body)


def _bulk_item(
    record_id: RecordId, sent_at: datetime, record: CallRecord | None, items: Sequence[ItemAnswer], at: int
) -> BulkItem:
    """Say what became of one id: by the id within the records first, by position for the failures."""
    if record is not None:
        return BulkItem(id=record_id, sent_at=sent_at, status=200, record=record)
    item = items[at] if at < len(items) else ItemAnswer(None, None)
    if item.body is None:
        return BulkItem(id=record_id, sent_at=sent_at, status=item.status, why="no readable part")
    return BulkItem(id=record_id, sent_at=sent_at, status=item.status, why=_why(item))


def _why(item: ItemAnswer) -> str:
    code = item.body.get("errorCode") if isinstance(item.body, Mapping) else None
    return code[:80] if isinstance(code, str) and code else "not the record asked for"


def _account_of(top: Mapping[str, Any]) -> AccountId | None:
    addresses = [top.get("uri"), *(item.get("uri") for item in top["records"] if isinstance(item, dict))]
    return next((found for found in map(account_in_uri, addresses) if found), None)


def _object(answer: Response) -> Mapping[str, Any]:
    try:
        return decode_object(answer)
    except BadJson as error:
        raise _unusable(answer, str(error)) from error


def _inner(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _unusable(answer: Response, why: str) -> RingCentralUnreachable:
    return RingCentralUnreachable(
        f"RingCentral answered {answer.status}, but {why}", status=answer.status, request_id=answer.request_id
    )
