"""Request handlers of the conversation insights."""

from starlette.responses import JSONResponse, Response

from app.simulator.api.pipeline import ApiRequest, account_of
from app.simulator.platform.errors import Refused, not_found
from app.simulator.platform.insights import DOMAIN, find_insights, only_kinds
from app.simulator.scripting.model import Json
from app.simulator.simulator import Simulator


async def read_session_insights(simulator: Simulator, request: ApiRequest) -> Response:
    """Return the insights of a session's recordings; 404 until one of them is analysed."""
    _check_licence(simulator, request)
    call = simulator.calls.call_of_session(request.path["session"])
    recordings = () if call is None else call.recordings
    shown = [
        found
        for recording in recordings
        if recording.telephony_session_id == request.path["session"]
        and (found := _show(simulator, request, recording.id)) is not None
    ]
    if not shown:
        raise not_found("sourceSessionId")
    return JSONResponse({"records": shown, "paging": {"perPage": 100}})


async def read_record_insights(simulator: Simulator, request: ApiRequest) -> Response:
    _check_licence(simulator, request)
    shown = _show(simulator, request, request.path["recording"])
    if shown is None:
        raise not_found("sourceRecordId")
    return JSONResponse(shown)


def _check_licence(simulator: Simulator, request: ApiRequest) -> None:
    account_of(simulator, request)
    if not simulator.faults.insights_licensed:
        raise Refused(403, "FeatureNotAvailable", "The feature is not available for the account")
    if request.path["domain"] != DOMAIN:
        raise not_found("domain")


def _show(simulator: Simulator, request: ApiRequest, recording_id: str) -> Json | None:
    shown = find_insights(
        simulator.calls,
        recording_id,
        simulator.now(),
        simulator.links.platform,
        notes=simulator.faults.insights_notes,
    )
    return None if shown is None else only_kinds(shown, request.query.all("insightTypes"))
