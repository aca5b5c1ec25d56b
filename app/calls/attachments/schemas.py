"""Responses about attachments."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.api.schemas import ApiModel, Page
from app.calls.attachments.rules.notes import NoteFormat
from app.calls.attachments.rules.sentiments import Maker

CALL_ID_EXAMPLE = "call_01jp0v7s4v8x2m6c9q3t5r7w1e"
_NOTE_ID = "note_01jp0v9g2k4m6p8r0t2w4y6a8c"


class Attachment(ApiModel):
    """What all kinds of attachment have in common."""

    call_id: str | None = Field(
        description="The id of the call; null while parked.", examples=[CALL_ID_EXAMPLE]
    )
    session_ref: str | None = Field(
        description="The name under which it waits for its call; null once it is attached.", examples=[None]
    )
    status: Literal["attached", "parked"]
    version: int = Field(
        description="Increases by one with each change. The ETag starts with it.", examples=[1]
    )
    created_at: datetime
    updated_at: datetime


_NOTE: dict[str, Any] = {
    "id": _NOTE_ID,
    "callId": CALL_ID_EXAMPLE,
    "sessionRef": None,
    "status": "attached",
    "source": "hubspot",
    "externalId": "engagement-55120",
    "title": "Offer for Field Ltd.",
    "text": "Dana wants an offer for **40 seats** by Friday.",
    "plainText": "Dana wants an offer for 40 seats by Friday.",
    "format": "markdown",
    "author": {"id": "711000101", "name": "Ana Ruiz"},
    "version": 1,
    "createdAt": "2026-03-10T18:10:02.125Z",
    "updatedAt": "2026-03-10T18:10:02.125Z",
}
_PARKED_NOTE: dict[str, Any] = _NOTE | {
    "callId": None,
    "sessionRef": "1229016182016",
    "status": "parked",
    "detail": "No call is known as 1229016182016 yet. The note is parked under this name and joins the call "
    "as soon as the call becomes known. Its URL stays the same.",
}


class NoteOut(Attachment):
    """A note."""

    model_config = ConfigDict(json_schema_extra={"example": _NOTE})

    id: str = Field(examples=[_NOTE_ID])
    source: str
    external_id: str | None
    title: str | None
    text: str = Field(description="As it was written; HTML as it is after sanitising.")
    plain_text: str = Field(description="The text without markup, for programs that show plain text.")
    format: NoteFormat = Field(description="How to read `text`.")
    author: dict[str, Any] | None


class SentimentOut(Attachment):
    """How the call went, according to one source."""

    source: str = Field(examples=["ringsense"])
    made_by: Maker = Field(description="Who made it. A call can have one of each from a source.")
    label: str = Field(examples=["positive"])
    score: float | None = Field(description="From -1 (negative) to 1 (positive).", examples=[0.62])
    confidence: float | None = Field(examples=[0.9])
    scope: dict[str, Any] = Field(examples=[{"type": "call"}])
    original: Any = Field(None, description="The source's own value.")


class DispositionOut(Attachment):
    """The result of the call, according to the agent."""

    code: str = Field(examples=["callback"])
    label: str | None = Field(examples=["Call back"])
    author: dict[str, Any] | None


class LinkOut(Attachment):
    """The objects of one CRM that the call was written to."""

    crm: str = Field(examples=["hubspot"])
    objects: list[dict[str, Any]] = Field(examples=[[{"type": "contact", "id": "501"}]])


class CountedSentiment(ApiModel):
    """The sentiment that counts for the call: a person's before a machine's, one about the whole call before
    others, then the newest."""

    source: str = Field(examples=["agent:711000101"])
    made_by: Maker
    label: str = Field(examples=["negative"])
    score: float | None


class Overruling(ApiModel):
    """A person's sentiment, which counts for the call before that of a machine."""

    source: str = Field(examples=["agent:711000101"])
    label: str = Field(examples=["negative"])


class WrittenSentiment(SentimentOut):
    """A sentiment that was set."""

    overruled_by: Overruling | None = Field(
        None,
        description="Only for a machine's sentiment: the person's that counts for the call instead. Both are "
        "kept.",
    )


_DETAIL = Field(description="Why it is parked, and what happens next.")


class ParkedNote(NoteOut):
    """A note that waits for its call."""

    model_config = ConfigDict(json_schema_extra={"example": _PARKED_NOTE})

    detail: str = _DETAIL


class ParkedSentiment(WrittenSentiment):
    """A sentiment that waits for its call."""

    detail: str = _DETAIL


class ParkedDisposition(DispositionOut):
    """A disposition that waits for its call."""

    detail: str = _DETAIL


class ParkedLink(LinkOut):
    """Links that wait for their call."""

    detail: str = _DETAIL


class NoteList(Page[NoteOut]):
    """All notes of a call, on one page."""


class SentimentList(Page[SentimentOut]):
    """All sentiments of a call, on one page."""


class LinkList(Page[LinkOut]):
    """All links of a call, on one page."""
