"""Request handlers of Active Calls, the call log, telephony sessions and recordings."""

import secrets
from datetime import datetime, timedelta

from starlette.responses import JSONResponse, Response

from app.simulator.api.audio import respond_with_audio
from app.simulator.api.pipeline import (
    ApiRequest,
    account_of,
    extension_of,
    level_address,
    level_of,
    permissions_of,
)
from app.simulator.platform import audio
from app.simulator.platform.errors import Refused, invalid, lacks_permission, not_found
from app.simulator.platform.events import read_session
from app.simulator.platform.listing import (
    LogRules,
    Page,
    Query,
    SyncSource,
    extract_sync,
    matches_summary,
    multi_status,
    multipart,
    newest_first,
    paged,
    read_log_query,
    sync,
)
from app.simulator.platform.views import Revision, active_stage, show_logged, show_stage
from app.simulator.quirks import Forms, to_wire
from app.simulator.scripting.company import READ_CALL_RECORDING, READ_COMPANY_CALL_LOG
from app.simulator.scripting.model import IN_PROGRESS, Json, Record, Recording, Stage
from app.simulator.simulator import Simulator


class WireResponse(JSONResponse):
    """JSON that can hold what is no valid text: half an emoji, or a byte that is no UTF-8."""

    def render(self, content: object) -> bytes:
        return to_wire(content)


MULTI_STATUS_JSON = "application/vnd.ringcentral.multipart+json"


def _forms(simulator: Simulator) -> Forms:
    """Return how events and records are written now."""
    return Forms(simulator.faults.quirks, simulator.company)


# Active Calls


async def list_active_calls(simulator: Simulator, request: ApiRequest) -> Response:
    extension_id = level_of(simulator, request)
    faults = simulator.faults
    query = Query([]) if faults.active_calls_drop_parameters else request.query
    view, page = query.view(), Page.read(query)
    found = [] if faults.active_calls_blind else _active_records(simulator, query, extension_id, request.now)

    def show(pair: tuple[Record, Stage]) -> Json:
        record, stage = pair
        logged = simulator.calls.revision_at(record, request.now)
        return _forms(simulator).record(show_stage(record, stage, logged, simulator.links, view), record)

    address = f"{level_address(simulator.links, extension_id)}/active-calls"
    body = paged(address, query, page, found, show, faults.last_page)
    _note_served(simulator.calls.served_active, body["records"], request.now)
    return WireResponse(body)


def _active_records(
    simulator: Simulator, query: Query, extension_id: str | None, now: datetime
) -> list[tuple[Record, Stage]]:
    out = []
    for record in newest_first(simulator.calls.recent_records(now)):
        if extension_id is None or record.extension_id == extension_id:
            stage = active_stage(record, now, simulator.settings.timing)
            if stage is not None and matches_summary(stage.summary, query) and _has_transport(record, query):
                out.append((record, stage))
    return out


def _has_transport(record: Record, query: Query) -> bool:
    transports = query.all("transport")
    return not transports or record.final.legs[0].transport in transports


def _note_served(served: dict[str, datetime], records: list[Json], now: datetime) -> None:
    for shown in records:
        if shown["result"] != IN_PROGRESS:
            served.setdefault(shown["id"], now)


# Call log


async def list_call_log(simulator: Simulator, request: ApiRequest) -> Response:
    extension_id, faults, calls = level_of(simulator, request), simulator.faults, simulator.calls
    rules = LogRules(
        faults.session_id_excludes,
        faults.session_id_within_window,
        faults.telephony_session_id_filter,
        faults.quirks,
    )
    company_level = extension_id is None
    log_query = read_log_query(request.query, request.now, rules, company_level=company_level)
    view, page = request.query.view(), Page.read(request.query)
    found = []
    records = simulator.calls.records_between(log_query.begin, log_query.end)
    for record in newest_first(_at_level(simulator, records, extension_id)):
        revision = calls.revision_at(record, request.now) if log_query.concerns(record) else None
        is_hidden = record.id in calls.deleted and not request.query.flag("showDeleted")
        if revision is not None and not is_hidden and log_query.accepts(record, revision):
            found.append((record, revision))

    def show(pair: tuple[Record, Revision]) -> Json:
        return _show_logged(simulator, *pair, view, company_level=company_level)

    address = f"{level_address(simulator.links, extension_id)}/call-log"
    body = paged(address, request.query, page, found, show, faults.last_page)
    _note_final(simulator, body["records"], request.now)
    return WireResponse(body)


def _at_level(simulator: Simulator, records: list[Record], extension_id: str | None) -> list[Record]:
    if simulator.faults.call_log_blind:
        return []
    return [record for record in records if extension_id in (None, record.extension_id)]


def _show_logged(
    simulator: Simulator, record: Record, revision: Revision, view: str, *, company_level: bool
) -> Json:
    shown = show_logged(record, revision, simulator.links, view, company_level=company_level)
    shown = _forms(simulator).record(shown, record)
    if record.id in simulator.calls.deleted:
        shown["deleted"] = True
    return shown


def _note_final(simulator: Simulator, records: list[Json], now: datetime) -> None:
    """Store when records were first served with their final content."""
    final = []
    for shown in records:
        record = simulator.calls.record(shown["id"])
        revision = None if record is None else simulator.calls.revision_at(record, now)
        if revision is not None and revision.kind != "provisional":
            final.append(shown)
    _note_served(simulator.calls.served_log, final, now)


async def read_call_records(simulator: Simulator, request: ApiRequest) -> Response:
    """Return one record as JSON, or several as a multi-status response."""
    extension_id = level_of(simulator, request)
    names = [name for name in request.path["records"].split(",") if name]
    limit = simulator.faults.bulk_limit
    if len(names) > limit:
        raise Refused(400, "CMN-106", f"Bulk requests are limited to {limit} entries")
    parts = [_read_part(simulator, request, name, extension_id) for name in names]
    _note_final(simulator, [body for _, status, body in parts if status == 200], request.now)
    if len(parts) == 1:
        return WireResponse(parts[0][2], parts[0][1])
    form = simulator.faults.bulk_form
    accepts_json = MULTI_STATUS_JSON in request.http.headers.get("accept", "")
    if form == "json" or (form == "accepted" and accepts_json):
        named = [(name, status, body) for name, (_, status, body) in zip(names, parts, strict=True)]
        return Response(to_wire(multi_status(named)), 207, media_type=MULTI_STATUS_JSON)
    # Random, so that no client can rely on a fixed boundary.
    boundary = f"Boundary_{len(parts)}_{secrets.randbelow(10**9)}_{int(request.now.timestamp() * 1000)}"
    kind = f"multipart/mixed; boundary={boundary}"
    return Response(multipart(parts, boundary), 207, headers={"Content-Type": kind})


def _read_part(
    simulator: Simulator, request: ApiRequest, name: str, extension_id: str | None
) -> tuple[str, int, Json]:
    """Return one record of a bulk read as (address, status, body)."""
    view, record = request.query.view(), simulator.calls.record(name)
    href = f"{level_address(simulator.links, extension_id)}/call-log/{name}?view={view}"
    revision = None
    if record is not None and _at_level(simulator, [record], extension_id):
        revision = simulator.calls.revision_at(record, request.now)
    if record is None or revision is None or name in simulator.calls.deleted:
        return href, 404, not_found("callRecordId").body()
    body = _show_logged(simulator, record, revision, view, company_level=extension_id is None)
    return href, 200, body


async def delete_call_log(simulator: Simulator, request: ApiRequest) -> Response:
    extension = extension_of(simulator, request)
    end = request.query.moment("dateTo")
    if end is None:
        raise invalid("dateTo")
    records = simulator.calls.records_between(request.query.moment("dateFrom"), end)
    simulator.calls.deleted |= {record.id for record in records if record.extension_id == extension.id}
    return Response(status_code=204)


def _sync_source(simulator: Simulator, request: ApiRequest, name: str) -> SyncSource:
    extension_id = level_of(simulator, request)
    records = _at_level(simulator, simulator.calls.records_between(None, None), extension_id)
    return SyncSource(
        address=f"{level_address(simulator.links, extension_id)}/{name}",
        level=extension_id or "company",
        records=[record for record in records if record.id not in simulator.calls.deleted],
        revisions_of=simulator.calls.revisions_of,
        links=simulator.links,
        company_level=extension_id is None,
        forms=_forms(simulator),
    )


async def sync_call_log(simulator: Simulator, request: ApiRequest) -> Response:
    source = _sync_source(simulator, request, "call-log-sync")
    body = sync(source, request.query, request.now, simulator.faults.sync_limit)
    _note_final(simulator, body["records"], request.now)
    return WireResponse(body)


async def extract_sync_call_log(simulator: Simulator, request: ApiRequest) -> Response:
    if not simulator.faults.extract_sync:
        raise Refused(404, "CMN-120", "Invalid URI")
    source = _sync_source(simulator, request, "call-log-extract-sync")
    hour_ago = request.now - timedelta(hours=1)
    body = extract_sync(source, request.query, request.now, hour_ago)
    _note_final(simulator, body["records"], request.now)
    return WireResponse(body)


# Telephony sessions


async def read_telephony_session(simulator: Simulator, request: ApiRequest) -> Response:
    account_of(simulator, request)
    name = request.path["session"]
    call = simulator.calls.call_of_session(name)
    shown = None if call is None else read_session(call, name, request.now)
    if shown is None:
        raise not_found("telephonySessionId")
    return WireResponse(_forms(simulator).session_event(shown))


# Recordings


async def read_recording(simulator: Simulator, request: ApiRequest) -> Response:
    recording = _find_recording(simulator, request)
    form = simulator.faults.recording_format
    return JSONResponse(
        {
            "id": recording.id,
            "contentUri": simulator.links.content(recording.id),
            "contentType": audio.CONTENT_TYPES[form],
            "duration": max(1, round(recording.seconds)),
        }
    )


def _find_recording(simulator: Simulator, request: ApiRequest) -> Recording:
    account_of(simulator, request)
    known = simulator.recording(request.path["recording"])
    if known is None:
        raise not_found("recordingId")
    # Checked after the look-up, so an unknown recording is 404 for every user.
    owner, own = known.record.extension_id, request.session.user.extension_id
    if owner != own and READ_COMPANY_CALL_LOG not in permissions_of(simulator, request.session):
        raise lacks_permission(READ_CALL_RECORDING)
    return known.recording


async def read_recording_content(simulator: Simulator, request: ApiRequest) -> Response:
    recording = _find_recording(simulator, request)
    return respond_with_audio(simulator, request, recording.id, recording.seconds)
