"""RingCentral's resources over HTTP: the platform host and the media host.

Every request passes the same gate: faults, token, rate bucket, scope, permission, and only then its handler,
which reads the state and lets the pure modules make the answer.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from app.simulator import limits, recordings
from app.simulator.auth import Session
from app.simulator.events import read_session
from app.simulator.listing import (
    LogRules,
    Page,
    Query,
    SyncSource,
    extract_sync,
    matches_shown,
    multi_status,
    multipart,
    newest_first,
    paged,
    read_log_query,
    sync,
)
from app.simulator.plan import IN_PROGRESS, Json, Record
from app.simulator.refusals import (
    Refused,
    TokenRefused,
    invalid,
    lacks_permission,
    lacks_scope,
    not_found,
)
from app.simulator.simulator import Simulator
from app.simulator.subscriptions import (
    EventFilter,
    Subscription,
    lifetime_seconds,
    read_filter,
    read_reminder,
)
from app.simulator.views import Links, Revision, revision_at, show_active, show_logged
from app.simulator.world import READ_CALL_LOG, READ_CALL_RECORDING, READ_COMPANY_CALL_LOG, Extension

MULTI_STATUS_JSON = "application/vnd.ringcentral.multipart+json"
MAX_BODY_BYTES = 64 * 1024
API = "/restapi/v1.0"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that passed the gate."""

    request: Request
    session: Session
    now: datetime
    query: Query

    @property
    def path(self) -> Mapping[str, str]:
        return self.request.path_params


Handler = Callable[[Simulator, Ask], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Resource:
    """A path with what it takes to use it."""

    method: str
    path: str
    handler: Handler
    group: str
    scope: str | None = None
    permission: str | None = None


# The gate


def _route(simulator: Simulator, resource: Resource) -> Route:
    async def endpoint(request: Request) -> Response:
        return await _pass_gate(simulator, resource, request)

    return Route(resource.path, endpoint, methods=[resource.method])


async def _pass_gate(simulator: Simulator, resource: Resource, request: Request) -> Response:
    """Answer one API request, whatever comes of it, and note it in the statistics."""
    headers: dict[str, str] = {}
    user = ""
    try:
        await _suffer(simulator)
        session = simulator.tokens.authenticate(
            request.headers.get("authorization"), request.query_params.get("access_token"), simulator.now()
        )
        user = session.user.extension_id
        headers = _take_turn(simulator, user, resource.group)
        _check_rights(simulator, session, resource)
        query = Query((key, value) for key, value in request.query_params.multi_items())
        response = await resource.handler(simulator, Ask(request, session, simulator.now(), query))
    except Refused as refusal:
        headers |= refusal.headers
        response = JSONResponse(refusal.body(), refusal.status)
    response.headers.update(headers)
    response.headers["RCRequestId"] = _request_id()
    simulator.note_request(resource.group, request.method, request.url.path, response.status_code, user)
    return response


async def _suffer(simulator: Simulator) -> None:
    """Let the faults that concern every request happen."""
    faults = simulator.faults
    if faults.latency_seconds > 0:
        await simulator.clock.sleep(faults.latency_seconds)
    if faults.global_limit:
        raise Refused(429, "CMN-310", "Request rate exceeded")
    if faults.unavailable_share and simulator.chance.random() < faults.unavailable_share:
        raise Refused(503, "CMN-201", "Service Temporary Unavailable")


def _take_turn(simulator: Simulator, user: str, group: str) -> dict[str, str]:
    """Count the request in its bucket; returns the rate headers, raises Refused with CMN-301."""
    faults, rule = simulator.faults, simulator.rule(group)
    verdict = simulator.count_request(user, group)
    headers = limits.headers(
        group, rule, verdict, limit_headers=faults.rate_limit_headers, retry_after=faults.retry_after
    )
    if not verdict.allowed:
        raise Refused(429, "CMN-301", "Request rate exceeded", headers=headers)
    return headers


def _check_rights(simulator: Simulator, session: Session, resource: Resource) -> None:
    """Check application and user, in this order."""
    if resource.scope is not None and resource.scope not in _scopes(simulator, session):
        raise lacks_scope(resource.scope)
    if resource.permission is not None and resource.permission not in _permissions(simulator, session):
        raise lacks_permission(resource.permission)


def _scopes(simulator: Simulator, session: Session) -> set[str]:
    return set(session.scopes) - set(simulator.faults.missing_scopes)


def _permissions(simulator: Simulator, session: Session) -> set[str]:
    return set(session.user.permissions) - set(simulator.faults.missing_permissions)


def _request_id() -> str:
    return secrets.token_hex(12)


# Whose account, whose extension


def _account(simulator: Simulator, ask: Ask) -> str:
    given = ask.path["account"]
    if given not in ("~", simulator.world.account_id):
        raise not_found("accountId")
    return simulator.world.account_id


def _extension(simulator: Simulator, ask: Ask) -> Extension:
    """Return the extension of the path if the user may see its calls."""
    _account(simulator, ask)
    own = ask.session.user.extension_id
    given = ask.path["extension"]
    extension = simulator.world.extension(own if given == "~" else given)
    if extension is None:
        raise not_found("extensionId")
    if extension.id != own and READ_COMPANY_CALL_LOG not in _permissions(simulator, ask.session):
        raise Refused(403, "CMN-404", "Access to the extension is not allowed", top_code="AccessDenied")
    return extension


def _level(simulator: Simulator, ask: Ask) -> str | None:
    """Return the extension of an extension-level request, None at company level."""
    if "extension" in ask.path:
        return _extension(simulator, ask).id
    _account(simulator, ask)
    return None


def _level_address(links: Links, extension_id: str | None) -> str:
    return links.account if extension_id is None else links.extension(extension_id)


# Active calls


async def list_active_calls(simulator: Simulator, ask: Ask) -> Response:
    extension_id = _level(simulator, ask)
    faults = simulator.faults
    query = Query([]) if faults.active_calls_drop_parameters else ask.query
    view, page = query.view(), Page.asked(query)
    shown = (
        [] if faults.active_calls_blind else _active_records(simulator, query, extension_id, view, ask.now)
    )
    address = f"{_level_address(simulator.links, extension_id)}/active-calls"
    answer = paged(address, query, page, shown, faults.last_page)
    _note_served(simulator.served_active, answer["records"], ask.now)
    return JSONResponse(answer)


def _active_records(
    simulator: Simulator, query: Query, extension_id: str | None, view: str, now: datetime
) -> list[Json]:
    out = []
    for record in newest_first(simulator.recent_records()):
        if extension_id is None or record.extension_id == extension_id:
            shown = show_active(record, now, simulator.timing, simulator.links, view)
            if shown is not None and matches_shown(shown, query) and _has_transport(record, query):
                out.append(shown)
    return out


def _has_transport(record: Record, query: Query) -> bool:
    wanted = query.all("transport")
    return not wanted or record.final.legs[0].transport in wanted


def _note_served(served: dict[str, datetime], records: list[Json], now: datetime) -> None:
    for shown in records:
        if shown["result"] != IN_PROGRESS:
            served.setdefault(shown["id"], now)


# Call log


async def list_call_log(simulator: Simulator, ask: Ask) -> Response:
    extension_id, faults = _level(simulator, ask), simulator.faults
    rules = LogRules(
        faults.session_id_excludes, faults.session_id_within_window, faults.telephony_session_id_filter
    )
    company_level = extension_id is None
    wanted = read_log_query(ask.query, ask.now, rules, company_level=company_level)
    view, page = ask.query.view(), Page.asked(ask.query)
    records = simulator.records_between(wanted.begin, wanted.end)
    shown = []
    for record in newest_first(_at_level(simulator, records, extension_id)):
        found = _logged(simulator, record, ask.now)
        if found is not None:
            body = _show_logged(simulator, record, found, view, company_level=company_level)
            if wanted.accepts(record, found, body) and _is_visible(body, ask.query):
                shown.append(body)
    address = f"{_level_address(simulator.links, extension_id)}/call-log"
    answer = paged(address, ask.query, page, shown, faults.last_page)
    _note_final(simulator, answer["records"], ask.now)
    return JSONResponse(answer)


def _at_level(simulator: Simulator, records: list[Record], extension_id: str | None) -> list[Record]:
    if simulator.faults.call_log_blind:
        return []
    return [record for record in records if extension_id in (None, record.extension_id)]


def _logged(simulator: Simulator, record: Record, now: datetime) -> Revision | None:
    return revision_at(record, now, simulator.timing)


def _show_logged(
    simulator: Simulator, record: Record, revision: Revision, view: str, *, company_level: bool
) -> Json:
    shown = show_logged(record, revision, simulator.links, view, company_level=company_level)
    if record.id in simulator.deleted:
        shown["deleted"] = True
    return shown


def _is_visible(shown: Json, query: Query) -> bool:
    return "deleted" not in shown or query.flag("showDeleted")


def _note_final(simulator: Simulator, records: list[Json], now: datetime) -> None:
    """Note which records were served with their final content for the first time."""
    final = []
    for shown in records:
        record = simulator.record(shown["id"])
        revision = None if record is None else _logged(simulator, record, now)
        if revision is not None and revision.kind != "provisional":
            final.append(shown)
    _note_served(simulator.served_log, final, now)


async def read_call_records(simulator: Simulator, ask: Ask) -> Response:
    """Read one record as JSON, or several as a multi-status answer."""
    extension_id = _level(simulator, ask)
    names = [name for name in ask.path["records"].split(",") if name]
    limit = simulator.faults.bulk_limit
    if len(names) > limit:
        raise Refused(400, "CMN-106", f"Bulk requests are limited to {limit} entries")
    parts = [_read_part(simulator, ask, name, extension_id) for name in names]
    _note_final(simulator, [body for _, status, body in parts if status == 200], ask.now)
    if len(parts) == 1:
        return JSONResponse(parts[0][2], parts[0][1])
    accepts_json = MULTI_STATUS_JSON in ask.request.headers.get("accept", "")
    if accepts_json and simulator.faults.bulk_json:
        named = [(name, status, body) for name, (_, status, body) in zip(names, parts, strict=True)]
        return Response(json.dumps(multi_status(named)), 207, media_type=MULTI_STATUS_JSON)
    boundary = f"Boundary_{len(parts)}_{secrets.randbelow(10**9)}_{int(ask.now.timestamp() * 1000)}"
    kind = f"multipart/mixed; boundary={boundary}"
    return Response(multipart(parts, boundary), 207, headers={"Content-Type": kind})


def _read_part(simulator: Simulator, ask: Ask, name: str, extension_id: str | None) -> tuple[str, int, Json]:
    """Read one record of a bulk read: (address, status, body)."""
    view, record = ask.query.view(), simulator.record(name)
    href = f"{_level_address(simulator.links, extension_id)}/call-log/{name}?view={view}"
    revision = None
    if record is not None and _at_level(simulator, [record], extension_id):
        revision = _logged(simulator, record, ask.now)
    if record is None or revision is None or name in simulator.deleted:
        return href, 404, not_found("callRecordId").body()
    body = _show_logged(simulator, record, revision, view, company_level=extension_id is None)
    return href, 200, body


async def delete_call_log(simulator: Simulator, ask: Ask) -> Response:
    extension = _extension(simulator, ask)
    end = ask.query.moment("dateTo")
    if end is None:
        raise invalid("dateTo")
    records = simulator.records_between(ask.query.moment("dateFrom"), end)
    simulator.deleted |= {record.id for record in records if record.extension_id == extension.id}
    return Response(status_code=204)


def _sync_source(simulator: Simulator, ask: Ask, name: str) -> SyncSource:
    extension_id = _level(simulator, ask)
    records = _at_level(simulator, simulator.records_between(None, None), extension_id)
    return SyncSource(
        address=f"{_level_address(simulator.links, extension_id)}/{name}",
        level=extension_id or "company",
        records=[record for record in records if record.id not in simulator.deleted],
        timing=simulator.timing,
        links=simulator.links,
        company_level=extension_id is None,
    )


async def sync_call_log(simulator: Simulator, ask: Ask) -> Response:
    source = _sync_source(simulator, ask, "call-log-sync")
    answer = sync(source, ask.query, ask.now, simulator.faults.sync_limit)
    _note_final(simulator, answer["records"], ask.now)
    return JSONResponse(answer)


async def extract_sync_call_log(simulator: Simulator, ask: Ask) -> Response:
    if not simulator.faults.extract_sync:
        raise Refused(404, "CMN-120", "Invalid URI")
    source = _sync_source(simulator, ask, "call-log-extract-sync")
    hour_ago = ask.now - timedelta(hours=1)
    answer = extract_sync(source, ask.query, ask.now, hour_ago)
    _note_final(simulator, answer["records"], ask.now)
    return JSONResponse(answer)


# Telephony, accounts


async def read_telephony_session(simulator: Simulator, ask: Ask) -> Response:
    _account(simulator, ask)
    name = ask.path["session"]
    call = simulator.call_of_session(name)
    shown = None if call is None else read_session(call, name, ask.now)
    if shown is None:
        raise not_found("telephonySessionId")
    return JSONResponse(shown)


async def read_account(simulator: Simulator, ask: Ask) -> Response:
    account_id, world = _account(simulator, ask), simulator.world
    return JSONResponse(
        {
            "uri": simulator.links.account,
            "id": int(account_id),
            "mainNumber": world.main_number.lstrip("+"),
            "status": "Confirmed",
            "serviceInfo": {"brand": {"id": "1210", "name": "RingCentral"}},
        }
    )


async def list_extensions(simulator: Simulator, ask: Ask) -> Response:
    _account(simulator, ask)
    shown = [_show_extension(simulator.links, extension) for extension in simulator.world.extensions]
    address = f"{simulator.links.account}/extension"
    return JSONResponse(paged(address, ask.query, Page.asked(ask.query), shown, "correct"))


async def read_extension(simulator: Simulator, ask: Ask) -> Response:
    return JSONResponse(_show_extension(simulator.links, _extension(simulator, ask)))


def _show_extension(links: Links, extension: Extension) -> Json:
    first, _, last = extension.name.partition(" ")
    return {
        "uri": links.extension(extension.id),
        "id": int(extension.id),
        "extensionNumber": extension.number,
        "name": extension.name,
        "contact": {"firstName": first, "lastName": last, "businessPhone": extension.direct_number},
        "type": extension.kind,
        "status": "Enabled",
    }


# Recordings


async def read_recording(simulator: Simulator, ask: Ask) -> Response:
    recording = _find_recording(simulator, ask)
    form = simulator.faults.recording_format
    return JSONResponse(
        {
            "id": recording.id,
            "contentUri": simulator.links.content(recording.id),
            "contentType": recordings.CONTENT_TYPES[form],
            "duration": max(1, round(recording.seconds)),
        }
    )


def _find_recording(simulator: Simulator, ask: Ask) -> recordings.Playable:
    _account(simulator, ask)
    known = simulator.recording(ask.path["recording"])
    if known is None:
        raise not_found("recordingId")
    owner, own = known.record.extension_id, ask.session.user.extension_id
    if owner != own and READ_COMPANY_CALL_LOG not in _permissions(simulator, ask.session):
        raise lacks_permission(READ_CALL_RECORDING)
    return recordings.Playable(known.recording.id, known.recording.seconds)


async def read_recording_content(simulator: Simulator, ask: Ask) -> Response:
    recording, faults = _find_recording(simulator, ask), simulator.faults
    form = faults.recording_format
    content = recordings.audio(recording.id, recording.seconds, form)
    part = recordings.choose_slice(ask.request.headers.get("range"), len(content), faults.recording_range)
    if part is None:
        raise Refused(
            416,
            "CMN-107",
            "Requested range is not satisfiable",
            headers={"Content-Range": f"bytes */{len(content)}"},
        )
    headers = {"Content-Type": recordings.CONTENT_TYPES[form]}
    if faults.recording_range != "ignored":
        headers["Accept-Ranges"] = "bytes"
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.first}-{part.last}/{len(content)}"
    disposition = ask.query.one("contentDisposition")
    if disposition is not None:
        filename = f"{recording.id}.{form}"
        headers["Content-Disposition"] = f'{disposition.lower()}; filename="{filename}"'
    response = Response(content[part.first : part.last + 1], part.status, headers)
    if not faults.recording_content_length:
        del response.headers["Content-Length"]
    return response


# Subscriptions


async def create_subscription(simulator: Simulator, ask: Ask) -> Response:
    body = await _read_object(ask.request)
    delivery = body.get("deliveryMode")
    if not isinstance(delivery, dict) or delivery.get("transportType") != "WebHook":
        raise invalid("deliveryMode.transportType")
    address = _checked_address(delivery.get("address"), require_https=simulator.faults.require_https)
    token = delivery.get("verificationToken")
    filters, disabled = _sort_filters(simulator, ask, body.get("eventFilters"))
    lifetime = lifetime_seconds(
        body.get("expiresIn"), simulator.speed, simulator.faults.subscription_max_seconds
    )
    reminder = read_reminder(filters, lifetime, simulator.speed)
    owner = ask.session.user.extension_id
    if len(simulator.listed_subscriptions(owner)) >= simulator.faults.subscription_limit:
        raise Refused(403, "SUB-505", "Too many subscriptions")
    await simulator.webhooks.shake_hands(address)
    now = simulator.now()
    subscription = Subscription(
        id=_guid(),
        owner_id=owner,
        address=address,
        token=None if token is None else str(token),
        filters=filters,
        disabled=disabled,
        created_at=now,
        expires_at=now + timedelta(seconds=lifetime),
        reminder=reminder,
    )
    simulator.add_subscription(subscription)
    return JSONResponse(subscription.show(simulator.links.platform, now))


def _guid() -> str:
    text = secrets.token_hex(16)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _checked_address(address: object, *, require_https: bool) -> str:
    parts = urlsplit(address) if isinstance(address, str) else None
    if parts is None or not parts.netloc or parts.scheme not in ("http", "https"):
        raise invalid("deliveryMode.address")
    if require_https and parts.scheme != "https":
        raise Refused(400, "SUB-523", "WebHook address must use https")
    return parts.geturl()


def _sort_filters(simulator: Simulator, ask: Ask, asked: object) -> tuple[list[EventFilter], list[Json]]:
    """Part the filters into those granted and those disabled; raises Refused if none is granted."""
    if not isinstance(asked, list) or not asked:
        raise Refused(400, "SUB-508", "Event filters are not valid: []", parameter="eventFilters")
    own = ask.session.user.extension_id
    granted: list[EventFilter] = []
    refusals: list[tuple[EventFilter, Refused]] = []
    for text in asked:
        one = read_filter(text, simulator.world.account_id, own)
        refusal = _filter_refusal(simulator, ask, one)
        if refusal is None:
            granted.append(one)
        else:
            refusals.append((one, refusal))
    if not any(one.kind != "reminder" for one in granted):
        raise refusals[0][1] if refusals else Refused(400, "SUB-508", "Event filters are not valid: []")
    disabled = [
        {"filter": one.text, "reason": refusal.code, "message": refusal.message} for one, refusal in refusals
    ]
    return granted, disabled


def _filter_refusal(simulator: Simulator, ask: Ask, one: EventFilter) -> Refused | None:
    scopes = _scopes(simulator, ask.session)
    if "SubscriptionWebhook" not in scopes:
        return lacks_scope("SubscriptionWebhook")
    if one.scope is not None and one.scope not in scopes:
        return lacks_scope(one.scope)
    if one.kind != "reminder" and one.account_id not in ("~", simulator.world.account_id):
        return Refused(403, "SUB-406", "Events of another account are not allowed")
    foreign = one.extension_id not in (None, ask.session.user.extension_id)
    if foreign and READ_COMPANY_CALL_LOG not in _permissions(simulator, ask.session):
        return Refused(403, "SUB-403", "Events of another extension are not allowed")
    if any(text in one.text for text in simulator.faults.disabled_filters):
        return Refused(403, "SUB-402", "The feature is not available")
    return None


def _subscription(simulator: Simulator, ask: Ask) -> Subscription:
    name = ask.path["subscription"]
    for one in simulator.listed_subscriptions(ask.session.user.extension_id):
        if one.id == name:
            return one
    raise Refused(404, "SUB-507", "Subscription is expired or unknown", parameter="subscriptionId")


async def list_subscriptions(simulator: Simulator, ask: Ask) -> Response:
    platform = simulator.links.platform
    found = simulator.listed_subscriptions(ask.session.user.extension_id)
    shown = [one.show(platform, ask.now) for one in found]
    return JSONResponse({"uri": f"{platform}{API}/subscription", "records": shown})


async def read_subscription(simulator: Simulator, ask: Ask) -> Response:
    return JSONResponse(_subscription(simulator, ask).show(simulator.links.platform, ask.now))


async def update_subscription(simulator: Simulator, ask: Ask) -> Response:
    """Change filters, lifetime or both; always renews. The address cannot be changed."""
    subscription, body = _subscription(simulator, ask), await _read_object(ask.request)
    if "eventFilters" in body:
        filters, disabled = _sort_filters(simulator, ask, body["eventFilters"])
    else:
        filters, disabled = subscription.filters, subscription.disabled
    lifetime = lifetime_seconds(
        body.get("expiresIn"), simulator.speed, simulator.faults.subscription_max_seconds
    )
    subscription.reminder = read_reminder(filters, lifetime, simulator.speed)
    subscription.filters, subscription.disabled = filters, disabled
    return _renewed(simulator, subscription, lifetime, ask.now)


async def renew_subscription(simulator: Simulator, ask: Ask) -> Response:
    subscription = _subscription(simulator, ask)
    lifetime = lifetime_seconds(None, simulator.speed, simulator.faults.subscription_max_seconds)
    return _renewed(simulator, subscription, lifetime, ask.now)


def _renewed(simulator: Simulator, subscription: Subscription, lifetime: float, now: datetime) -> Response:
    subscription.renew(lifetime, now)
    simulator.plan_reminder(subscription)
    return JSONResponse(subscription.show(simulator.links.platform, now))


async def delete_subscription(simulator: Simulator, ask: Ask) -> Response:
    del simulator.subscriptions[_subscription(simulator, ask).id]
    return Response(status_code=204)


async def _read_object(request: Request) -> Json:
    """Read the request's JSON object, an empty body being an empty one; raises Refused with CMN-103."""
    body = await _read_body(request)
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise Refused(400, "CMN-103", "Cannot parse the JSON body") from None
    if not isinstance(value, dict):
        raise Refused(400, "CMN-103", "The JSON body is not an object")
    return value


async def _read_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, "CMN-104", "Request body is too large")
    return body


# Tokens


async def _token_request(simulator: Simulator, request: Request) -> Response:
    form = dict(parse_qsl((await _read_body(request)).decode(errors="replace"), keep_blank_values=True))
    status = simulator.faults.token_status
    if status is not None:
        raise TokenRefused(status, "temporarily_unavailable", "CMN-201", "The token endpoint is out of order")
    simulator.tokens.check_client(request.headers.get("authorization"), form)
    headers = _take_turn(simulator, simulator.tokens.user_of_grant(form), limits.AUTH)
    answer = simulator.tokens.grant(
        form, simulator.now(), simulator.speed, refreshable=simulator.faults.refresh_tokens
    )
    return JSONResponse(answer, headers=headers | {"Cache-Control": "no-store"})


async def _revoke_request(simulator: Simulator, request: Request) -> Response:
    form = dict(parse_qsl((await _read_body(request)).decode(errors="replace")))
    simulator.tokens.check_client(request.headers.get("authorization"), form)
    simulator.tokens.revoke(form.get("token") or request.query_params.get("token", ""))
    return Response(status_code=200)


def _token_route(
    simulator: Simulator, path: str, handle: Callable[[Simulator, Request], Awaitable[Response]]
) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            if simulator.faults.latency_seconds > 0:
                await simulator.clock.sleep(simulator.faults.latency_seconds)
            response = await handle(simulator, request)
        except TokenRefused as refusal:
            response = JSONResponse(refusal.body(), refusal.status)
        except Refused as refusal:
            response = JSONResponse(refusal.body(), refusal.status, refusal.headers)
        response.headers["RCRequestId"] = _request_id()
        simulator.note_request(limits.AUTH, request.method, request.url.path, response.status_code, "")
        return response

    return Route(path, endpoint, methods=["POST"])


# The two hosts

_ACCOUNT = f"{API}/account/{{account}}"
_EXTENSION = f"{_ACCOUNT}/extension/{{extension}}"
_LOG = {"group": limits.HEAVY, "scope": "ReadCallLog"}
_COMPANY_LOG = _LOG | {"permission": READ_COMPANY_CALL_LOG}
_OWN_LOG = _LOG | {"permission": READ_CALL_LOG}
_RECORDING = {"group": limits.HEAVY, "scope": "ReadCallRecording", "permission": READ_CALL_RECORDING}

_CONTENT = Resource(
    "GET", f"{_ACCOUNT}/recording/{{recording}}/content", read_recording_content, **_RECORDING
)

RESOURCES: tuple[Resource, ...] = (
    Resource("GET", f"{_ACCOUNT}/active-calls", list_active_calls, **_COMPANY_LOG),
    Resource("GET", f"{_EXTENSION}/active-calls", list_active_calls, **_OWN_LOG),
    Resource("GET", f"{_ACCOUNT}/call-log", list_call_log, **_COMPANY_LOG),
    Resource("GET", f"{_EXTENSION}/call-log", list_call_log, **_OWN_LOG),
    Resource("DELETE", f"{_EXTENSION}/call-log", delete_call_log, limits.HEAVY, "EditCallLog"),
    Resource("GET", f"{_ACCOUNT}/call-log/{{records}}", read_call_records, **_COMPANY_LOG),
    Resource("GET", f"{_EXTENSION}/call-log/{{records}}", read_call_records, **_OWN_LOG),
    Resource("GET", f"{_ACCOUNT}/call-log-sync", sync_call_log, **_COMPANY_LOG),
    Resource("GET", f"{_EXTENSION}/call-log-sync", sync_call_log, **_OWN_LOG),
    Resource("GET", f"{_ACCOUNT}/call-log-extract-sync", extract_sync_call_log, **_COMPANY_LOG),
    Resource("GET", f"{_ACCOUNT}/recording/{{recording}}", read_recording, **_RECORDING),
    _CONTENT,
    Resource(
        "GET",
        f"{_ACCOUNT}/telephony/sessions/{{session}}",
        read_telephony_session,
        limits.LIGHT,
        "CallControl",
    ),
    Resource("GET", _ACCOUNT, read_account, limits.LIGHT, "ReadAccounts"),
    Resource("GET", f"{_ACCOUNT}/extension", list_extensions, limits.LIGHT, "ReadAccounts"),
    Resource("GET", _EXTENSION, read_extension, limits.LIGHT, "ReadAccounts"),
    Resource("GET", f"{API}/subscription", list_subscriptions, limits.LIGHT),
    Resource("POST", f"{API}/subscription", create_subscription, limits.MEDIUM),
    Resource("GET", f"{API}/subscription/{{subscription}}", read_subscription, limits.LIGHT),
    Resource("PUT", f"{API}/subscription/{{subscription}}", update_subscription, limits.MEDIUM),
    Resource("DELETE", f"{API}/subscription/{{subscription}}", delete_subscription, limits.MEDIUM),
    Resource("POST", f"{API}/subscription/{{subscription}}/renew", renew_subscription, limits.LIGHT),
)


def _no_such_resource(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    code, message = ("CMN-120", "Invalid URI") if status == 404 else ("CMN-104", "Method is not allowed")
    body = Refused(status, code, message).body()
    return JSONResponse(body, status, {"RCRequestId": _request_id()})


def platform_app(simulator: Simulator, control: list[BaseRoute]) -> Starlette:
    """Return the platform host: tokens, API and, under `/_sim`, the control routes."""
    routes: list[BaseRoute] = [
        _token_route(simulator, "/restapi/oauth/token", _token_request),
        _token_route(simulator, "/restapi/oauth/revoke", _revoke_request),
        *(_route(simulator, resource) for resource in RESOURCES),
        *control,
    ]
    return Starlette(routes=routes, exception_handlers=_HANDLERS)


def media_app(simulator: Simulator) -> Starlette:
    """Return the media host, which serves recording content and nothing else."""
    return Starlette(routes=[_route(simulator, _CONTENT)], exception_handlers=_HANDLERS)


_HANDLERS = {404: _no_such_resource, 405: _no_such_resource}
