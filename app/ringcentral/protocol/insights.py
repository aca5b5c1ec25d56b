"""Conversation insights of a call or of one recording. Pure."""

from app.ids import TelephonySessionId
from app.ringcentral.models import Insights, read_insights
from app.ringcentral.protocol.requests import get, path_segment
from app.ringcentral.protocol.responses import read_object, read_records, unusable
from app.ringcentral.wire import LIGHT, Request, Response

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
"""Only the requested types are returned (guide "Conversation insights")."""

_PARAMS = tuple(("insightTypes", kind) for kind in INSIGHT_TYPES)


def session_insights(session_id: TelephonySessionId) -> Request:
    """Request the insights of a call's recordings. Only the `telephonySessionId` works here.

    404 until there are any; 403 without the product's licence, its app scope or the user's permission.
    """
    path, route = (
        f"{INSIGHTS}/sessions/{path_segment(session_id)}",
        f"{INSIGHTS}/sessions/{{sourceSessionId}}",
    )
    return get(f"{path}/insights", f"{route}/insights", LIGHT, _PARAMS)


def record_insights(recording_id: str) -> Request:
    """Request the insights of one recording; the statuses are those of `session_insights`."""
    path, route = f"{INSIGHTS}/records/{path_segment(recording_id)}", f"{INSIGHTS}/records/{{sourceRecordId}}"
    return get(f"{path}/insights", f"{route}/insights", LIGHT, _PARAMS)


def decode_session_insights(response: Response, session_id: TelephonySessionId) -> tuple[Insights, ...]:
    """Read the insights of a session, one per recording. Those of another session are dropped."""
    _, records = read_records(response)
    named = ({"sourceSessionId": session_id} | item for item in records if isinstance(item, dict))
    found = [read_insights(item) for item in named]
    return tuple(item for item in found if item and item.session_id == session_id)


def decode_record_insights(response: Response, recording_id: str) -> Insights:
    found = read_insights({"sourceRecordId": recording_id} | dict(read_object(response)))
    if found is None or found.recording_id != recording_id:
        raise unusable(response, "the insights are of another recording")
    return found
