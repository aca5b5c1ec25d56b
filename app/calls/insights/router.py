"""GET /v1/calls/{call}/insights: what conversation analysis says of a call."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonAnswer
from app.api.problems import problem_responses
from app.calls import views
from app.calls.insights import store as insights_store
from app.calls.insights.model import show
from app.calls.router import CallName, load_id
from app.calls.schemas import ApiModel, Open, Readiness

router = APIRouter(prefix="/v1", tags=["calls"])


class Speaker(ApiModel):
    """Somebody who speaks in a recording."""

    speaker_id: str | None = Field(description="As transcript and highlights have it.", examples=["P-2"])
    name: str | None = Field(examples=["Ana Ruiz"])
    extension_id: str | None = Field(examples=["711000101"])
    phone_number: str | None = Field(examples=[None])
    party_id: str | None = Field(
        description="Which of the call's `parties` it is, where only one can be meant.",
        examples=["p-a0c14f2b77d1ez1928b3f4c10z5e6f70000-2"],
    )


class Insight(Open):
    """One insight in RingCentral's own words. `start` and `end` are seconds from the start of the recording."""

    value: str | None = Field(None, examples=["Send the invoice"])
    text: str | None = Field(None, description="Of a transcript.", examples=["Good morning."])
    speaker_id: str | None = Field(None, examples=["P-2"])
    section: str | None = Field(None, description="Of a bulleted summary.", examples=["Topics"])
    start: float | None = Field(None, examples=[1.2])
    end: float | None = Field(None, examples=[2.0])


class RecordingInsights(ApiModel):
    """What is known of one recording. A list is empty when that kind was not produced."""

    recording_id: str | None = Field(examples=["3019664700"])
    telephony_session_id: str | None
    title: str | None = Field(examples=["Dana Field and Ana Ruiz"])
    recording_start_time: str | None = Field(examples=["2026-03-10T18:07:44Z"])
    recording_duration: float | None = Field(description="Seconds.", examples=[92.0])
    creation_time: str | None
    last_modified_time: str | None = Field(description="The version that is shown is the one changed last.")
    fetched_at: str
    source: str = Field(description="Who brought it: `webhook` (an event) or `insights` (we asked).")
    speakers: list[Speaker]
    transcript: list[Insight]
    summary: list[Insight]
    bulleted_summary: list[Insight]
    highlights: list[Insight]
    next_steps: list[Insight]
    call_notes: list[Insight]
    ai_score: float | None = Field(description="RingCentral writes it as text.", examples=[8.0])
    sentiment: str | None = Field(
        description="positive, neutral, negative or mixed; null where their word means none of these.",
        examples=["positive"],
    )
    sentiment_words: list[str] = Field(description="Their own words.", examples=[["Positive"]])
    other_insights: dict[str, Any] = Field(description="Kinds that we do not know, as they came.")


class CallInsights(ApiModel):
    """All insights of a call, one item per recording."""

    data: list[RecordingInsights]
    readiness: Readiness = Field(
        description="pending: they are looked for; none: there are none, with the reason."
    )


@router.get(
    "/calls/{call}/insights",
    response_model=CallInsights,
    summary="Transcript, summary, next steps, scores of a call",
    responses=problem_responses(404, 409),
)
async def get_insights(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """What RingCentral's conversation analysis says of the call's recordings. An account without the product, and
    a call without recording, have none: `readiness` says so."""
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, call)
        rows = await insights_store.load_of_call(db, key.account_id, call_id)
        readiness, parties = await views.load_readiness(db, key.account_id, call_id)
    shown = [show(insights_store.read_row(row), parties, row.fetched_at, row.source) for row in rows]
    return JsonAnswer({"data": shown, "readiness": readiness["insights"]})
