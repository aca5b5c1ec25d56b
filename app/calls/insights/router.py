"""The route for the insights of a call."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.problems import problem_responses
from app.api.schemas import ApiModel, OpenModel
from app.calls import views
from app.calls.insights import store as insights_store
from app.calls.insights.model import show
from app.calls.names import CallName
from app.calls.schemas import Readiness
from app.calls.store import load_id

router = APIRouter(prefix="/v1", tags=["calls"])


class Speaker(ApiModel):
    """A person who speaks in a recording."""

    speaker_id: str | None = Field(
        description="The same id as in the transcript and the highlights.", examples=["P-2"]
    )
    name: str | None = Field(examples=["Ana Ruiz"])
    extension_id: str | None = Field(examples=["711000101"])
    phone_number: str | None = Field(examples=[None])
    party_id: str | None = Field(
        description="The id of the matching party in the call's `parties`, if exactly one matches.",
        examples=["p-a0c14f2b77d1ez1928b3f4c10z5e6f70000-2"],
    )


class Insight(OpenModel):
    """One insight as RingCentral returned it. `start` and `end` are in seconds from the recording's start."""

    value: str | None = Field(None, examples=["Send the invoice"])
    text: str | None = Field(None, description="In a transcript.", examples=["Good morning."])
    speaker_id: str | None = Field(None, examples=["P-2"])
    section: str | None = Field(None, description="In a bulleted summary.", examples=["Topics"])
    start: float | None = Field(None, examples=[1.2])
    end: float | None = Field(None, examples=[2.0])


class RecordingInsights(ApiModel):
    """The insights of one recording. A list is empty if its kind was not produced."""

    recording_id: str | None = Field(examples=["3019664700"])
    telephony_session_id: str | None
    title: str | None = Field(examples=["Dana Field and Ana Ruiz"])
    recording_start_time: str | None = Field(examples=["2026-03-10T18:07:44Z"])
    recording_duration: float | None = Field(description="In seconds.", examples=[92.0])
    creation_time: str | None
    last_modified_time: str | None = Field(description="When RingCentral last changed these insights.")
    fetched_at: str
    source: str = Field(
        description="How they were received: `webhook` (from an event) or `insights` (from a request)."
    )
    speakers: list[Speaker]
    transcript: list[Insight]
    summary: list[Insight]
    bulleted_summary: list[Insight]
    highlights: list[Insight]
    next_steps: list[Insight]
    call_notes: list[Insight]
    ai_score: float | None = Field(
        description="A number, which RingCentral sends as a string.", examples=[8.0]
    )
    sentiment: str | None = Field(
        description="positive, neutral, negative or mixed; null if RingCentral's word matches none of these.",
        examples=["positive"],
    )
    sentiment_words: list[str] = Field(description="RingCentral's own words.", examples=[["Positive"]])
    other_insights: dict[str, Any] = Field(
        description="Other kinds of insight, as RingCentral returned them."
    )


class CallInsights(ApiModel):
    """The insights of a call, one item per recording."""

    data: list[RecordingInsights]
    readiness: Readiness = Field(
        description="pending: the service is still looking for them; none: there are none, with the reason."
    )


@router.get(
    "/calls/{call}/insights",
    response_model=CallInsights,
    summary="Get the insights of a call",
    responses=problem_responses(404, 409, 410),
)
async def get_call_insights(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """The transcript, summary, next steps and scores from RingCentral's conversation analysis. An account
    without this product and a call without a recording have none; see `readiness`."""
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, call)
        rows = await insights_store.load_of_call(db, key.account_id, call_id)
        readiness, parties = await views.load_readiness(db, key.account_id, call_id)
    shown = [show(insights_store.read_row(row), parties, row.fetched_at, row.source) for row in rows]
    return JsonResponse({"data": shown, "readiness": readiness["insights"]})
