"""Conversation insights, as handlers of checked requests."""

from starlette.responses import JSONResponse, Response

from app.simulator.api.pipeline import Ask, account_of
from app.simulator.platform.errors import Refused, not_found
from app.simulator.platform.insights import DOMAIN, only_kinds
from app.simulator.scripting.model import Json
from app.simulator.simulator import Simulator


async def read_session_insights(simulator: Simulator, ask: Ask) -> Response:
    """Answer all that is analysed of a session's recordings; 404 as long as nothing is."""
    _check_licence(simulator, ask)
    call = simulator.call_of_session(ask.path["session"])
    recordings = () if call is None else call.recordings
    shown = [
        found
        for recording in recordings
        if recording.telephony_session_id == ask.path["session"]
        and (found := _show(simulator, ask, recording.id)) is not None
    ]
    if not shown:
        raise not_found("sourceSessionId")
    return JSONResponse({"records": shown, "paging": {"perPage": 100}})


async def read_record_insights(simulator: Simulator, ask: Ask) -> Response:
    _check_licence(simulator, ask)
    shown = _show(simulator, ask, ask.path["recording"])
    if shown is None:
        raise not_found("sourceRecordId")
    return JSONResponse(shown)


def _check_licence(simulator: Simulator, ask: Ask) -> None:
    account_of(simulator, ask)
    if not simulator.faults.insights_licensed:
        raise Refused(403, "FeatureNotAvailable", "The feature is not available for the account")
    if ask.path["domain"] != DOMAIN:
        raise not_found("domain")


def _show(simulator: Simulator, ask: Ask, recording_id: str) -> Json | None:
    shown = simulator.insights(recording_id)
    return None if shown is None else only_kinds(shown, ask.query.all("insightTypes"))
