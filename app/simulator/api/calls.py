"""Active calls, call log, telephony sessions and recordings, as handlers of checked requests."""

import json
import secrets
from datetime import datetime, timedelta

from starlette.responses import JSONResponse, Response

from app.simulator.api.pipeline import Ask, account_of, extension_of, level_address, level_of, permissions_of
from app.simulator.platform import audio as recordings
from app.simulator.platform.errors import Refused, invalid, lacks_permission, not_found
from app.simulator.platform.events import read_session
from app.simulator.platform.listing import (
    LogRules,
    Page,
    Query,
    SyncSource,
    extract_sync,
    matches_face,
    multi_status,
    multipart,
    newest_first,
    paged,
    read_log_query,
    sync,
)
from app.simulator.platform.views import Links, Revision, active_stage, show_logged, show_stage
from app.simulator.scripting.company import READ_CALL_RECORDING, READ_COMPANY_CALL_LOG, Extension
from app.simulator.scripting.model import IN_PROGRESS, Json, Record, Stage
from app.simulator.simulator import Simulator

MULTI_STATUS_JSON = "application/vnd.ringcentral.multipart+json"

# Active calls


async def list_active_calls(simulator: Simulator, ask: Ask) -> Response:
    extension_id = level_of(simulator, ask)
    faults = simulator.faults
    query = Query([]) if faults.active_calls_drop_parameters else ask.query
    view, page = query.view(), Page.asked(query)
    found = [] if faults.active_calls_blind else _active_records(simulator, query, extension_id, ask.now)

    def show(pair: tuple[Record, Stage]) -> Json:
        record, stage = pair
        return show_stage(record, stage, simulator.logged(record), simulator.links, view)

    address = f"{level_address(simulator.links, extension_id)}/active-calls"
    answer = paged(address, query, page, found, show, faults.last_page)
    _note_served(simulator.served_active, answer["records"], ask.now)
    return JSONResponse(answer)


def _active_records(
    simulator: Simulator, query: Query, extension_id: str | None, now: datetime
) -> list[tuple[Record, Stage]]:
    out = []
    for record in newest_first(simulator.recent_records()):
        if extension_id is None or record.extension_id == extension_id:
            stage = active_stage(record, now, simulator.timing)
            if stage is not None and matches_face(stage.face, query) and _has_transport(record, query):
                out.append((record, stage))
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
    extension_id, faults = level_of(simulator, ask), simulator.faults
    rules = LogRules(
        faults.session_id_excludes, faults.session_id_within_window, faults.telephony_session_id_filter
    )
    company_level = extension_id is None
    wanted = read_log_query(ask.query, ask.now, rules, company_level=company_level)
    view, page = ask.query.view(), Page.asked(ask.query)
    found = []
    records = simulator.records_between(wanted.begin, wanted.end)
    for record in newest_first(_at_level(simulator, records, extension_id)):
        revision = simulator.logged(record) if wanted.concerns(record) else None
        is_hidden = record.id in simulator.deleted and not ask.query.flag("showDeleted")
        if revision is not None and not is_hidden and wanted.accepts(record, revision):
            found.append((record, revision))

    def show(pair: tuple[Record, Revision]) -> Json:
        return _show_logged(simulator, *pair, view, company_level=company_level)

    address = f"{level_address(simulator.links, extension_id)}/call-log"
    answer = paged(address, ask.query, page, found, show, faults.last_page)
    _note_final(simulator, answer["records"], ask.now)
    return JSONResponse(answer)


def _at_level(simulator: Simulator, records: list[Record], extension_id: str | None) -> list[Record]:
    if simulator.faults.call_log_blind:
        return []
    return [record for record in records if extension_id in (None, record.extension_id)]


def _show_logged(
    simulator: Simulator, record: Record, revision: Revision, view: str, *, company_level: bool
) -> Json:
    shown = show_logged(record, revision, simulator.links, view, company_level=company_level)
    if record.id in simulator.deleted:
        shown["deleted"] = True
    return shown


def _note_final(simulator: Simulator, records: list[Json], now: datetime) -> None:
    """Note which records were served with their final content for the first time."""
    final = []
    for shown in records:
        record = simulator.record(shown["id"])
        revision = None if record is None else simulator.logged(record)
        if revision is not None and revision.kind != "provisional":
            final.append(shown)
    _note_served(simulator.served_log, final, now)


async def read_call_records(simulator: Simulator, ask: Ask) -> Response:
    """Read one record as JSON, or several as a multi-status answer."""
    extension_id = level_of(simulator, ask)
    names = [name for name in ask.path["records"].split(",") if name]
    limit = simulator.faults.bulk_limit
    if len(names) > limit:
        raise Refused(400, "CMN-106", f"Bulk requests are limited to {limit} entries")
    parts = [_read_part(simulator, ask, name, extension_id) for name in names]
    _note_final(simulator, [body for _, status, body in parts if status == 200], ask.now)
    if len(parts) == 1:
        return JSONResponse(parts[0][2], parts[0][1])
    form = simulator.faults.bulk_form
    accepts_json = MULTI_STATUS_JSON in ask.request.headers.get("accept", "")
    if form == "json" or (form == "accepted" and accepts_json):
        named = [(name, status, body) for name, (_, status, body) in zip(names, parts, strict=True)]
        return Response(json.dumps(multi_status(named)), 207, media_type=MULTI_STATUS_JSON)
    boundary = f"Boundary_{len(parts)}_{secrets.randbelow(10**9)}_{int(ask.now.timestamp() * 1000)}"
    kind = f"multipart/mixed; boundary={boundary}"
    return Response(multipart(parts, boundary), 207, headers={"Content-Type": kind})


def _read_part(simulator: Simulator, ask: Ask, name: str, extension_id: str | None) -> tuple[str, int, Json]:
    """Read one record of a bulk read: (address, status, body)."""
    view, record = ask.query.view(), simulator.record(name)
    href = f"{level_address(simulator.links, extension_id)}/call-log/{name}?view={view}"
    revision = None
    if record is not None and _at_level(simulator, [record], extension_id):
        revision = simulator.logged(record)
    if record is None or revision is None or name in simulator.deleted:
        return href, 404, not_found("callRecordId").body()
    body = _show_logged(simulator, record, revision, view, company_level=extension_id is None)
    return href, 200, body


async def delete_call_log(simulator: Simulator, ask: Ask) -> Response:
    extension = extension_of(simulator, ask)
    end = ask.query.moment("dateTo")
    if end is None:
        raise invalid("dateTo")
    records = simulator.records_between(ask.query.moment("dateFrom"), end)
    simulator.deleted |= {record.id for record in records if record.extension_id == extension.id}
    return Response(status_code=204)


def _sync_source(simulator: Simulator, ask: Ask, name: str) -> SyncSource:
    extension_id = level_of(simulator, ask)
    records = _at_level(simulator, simulator.records_between(None, None), extension_id)
    return SyncSource(
        address=f"{level_address(simulator.links, extension_id)}/{name}",
        level=extension_id or "company",
        records=[record for record in records if record.id not in simulator.deleted],
        revisions_of=simulator.revisions_of,
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
    account_of(simulator, ask)
    name = ask.path["session"]
    call = simulator.call_of_session(name)
    shown = None if call is None else read_session(call, name, ask.now)
    if shown is None:
        raise not_found("telephonySessionId")
    return JSONResponse(shown)


async def read_account(simulator: Simulator, ask: Ask) -> Response:
    account_id, world = account_of(simulator, ask), simulator.world
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
    account_of(simulator, ask)
    address, page = f"{simulator.links.account}/extension", Page.asked(ask.query)

    def show(extension: Extension) -> Json:
        return _show_extension(simulator.links, extension)

    return JSONResponse(paged(address, ask.query, page, simulator.world.extensions, show, "correct"))


async def read_extension(simulator: Simulator, ask: Ask) -> Response:
    return JSONResponse(_show_extension(simulator.links, extension_of(simulator, ask)))


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
    account_of(simulator, ask)
    known = simulator.recording(ask.path["recording"])
    if known is None:
        raise not_found("recordingId")
    owner, own = known.record.extension_id, ask.session.user.extension_id
    if owner != own and READ_COMPANY_CALL_LOG not in permissions_of(simulator, ask.session):
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
