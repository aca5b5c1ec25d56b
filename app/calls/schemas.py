"""What the connector API answers with, as models: they make the API description.

Answers are built as dicts in `views` and written out as they are, because validating fifty whole calls takes
longer than loading them; a test holds the two together. Names are RingCentral's where it has one. Words of
RingCentral's (`result`, `action`, `direction`) pass through whatever they are; `outcome` stands beside them
as a closed set. Times are RFC 3339 in UTC with milliseconds.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from app.calls.model import Outcome, Stage, time_text

NAME_PATTERN = r"^[!-~]+$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=160, pattern=NAME_PATTERN)]
"""Any name of a call. None has other characters, and a database need not be asked for such."""

_ID = re.compile(r"[0-9]{1,32}")


def _decimal(what: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not _ID.fullmatch(value):
            raise ValueError(
                f"RingCentral's id of {what} is expected, which has digits only, such as {example}"
            )
        return value

    return AfterValidator(check)


_DIGITS = Field(json_schema_extra={"pattern": f"^{_ID.pattern}$"})
ExtensionIdText = Annotated[str, _decimal("an extension", "711000101"), _DIGITS]
RecordingIdText = Annotated[str, _decimal("a recording", "3019664700"), _DIGITS]
"""RingCentral's ids of these are decimal text: anything else need not be asked for."""

Instant = Annotated[
    datetime, PlainSerializer(time_text), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A point in time in an answer: UTC, always with milliseconds and `Z`."""

_CALL_ID = "call_01jp0v7s4v8x2m6c9q3t5r7w1e"
_SESSION = "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000"
_NOTE_ID = "note_01jp0v9g2k4m6p8r0t2w4y6a8c"


class ApiModel(BaseModel):
    """What all answers share."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Open(ApiModel):
    """An object that may carry further fields of RingCentral's."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")


class Side(Open):
    """One side of a call; every field may be missing."""

    phone_number: str | None = Field(None, examples=["+15550179001"])
    extension_number: str | None = Field(None, examples=["101"])
    extension_id: str | None = Field(None, examples=["711000101"])
    name: str | None = Field(None, examples=["Dana Field"])
    location: str | None = Field(None, examples=["San Mateo, CA"])


class Readiness(ApiModel):
    """How far one part of a call is."""

    state: Literal["pending", "ready", "none", "expired"]
    since: datetime | None = None
    reason: str | None = Field(None, description="Why there is none, as far as it is known.")


class ReadinessOfParts(ApiModel):
    """Which parts of a call are there."""

    record: Readiness
    legs: Readiness
    recording: Readiness
    insights: Readiness


RecordingState = Literal["announced", "pending", "ready", "expired", "none"]


class Recording(ApiModel):
    """A recording, once, however many records and legs mention it."""

    id: str = Field(examples=["3019664700"])
    type: str | None = Field(None, examples=["Automatic"])
    uri: str | None = None
    content_uri: str | None = Field(
        None, description="RingCentral's address of the audio; it needs RingCentral's own token."
    )
    content_url: str | None = Field(
        description="Ours, from the root of this service; null when the recording cannot be heard any more.",
        examples=["/v1/recordings/3019664700/content"],
    )
    state: RecordingState = Field(
        description="announced (by an event), pending (a record names it), ready, expired (it did not come in "
        "time, or is gone), none (too short to be kept)."
    )
    content_type: str | None = Field(description="Once it is ready.", examples=["audio/mpeg"])
    duration: float | None = Field(description="Seconds, once it is ready.", examples=[92])
    record_ids: list[str] = Field(description="The records that mention it.")
    announced: bool = Field(description="Whether an event told of it while the call went on.")


class RecordedCall(Open):
    """A call-log record in RingCentral's own words, without its legs."""

    id: str = Field(examples=["QX7f14l8Nt_2aVB"])
    primary: bool = Field(description="Whether this record stands for the call.")
    source: str = Field(description="Who gave it to us.", examples=["call-log"])
    fetched_at: datetime
    leg_count: int | None = Field(None, description="How many legs it has; null when they were not read yet.")


class RecordWithLegs(RecordedCall):
    """A call-log record in RingCentral's own words, whole."""

    legs: list[dict[str, Any]] | None = None


class Leg(Open):
    """A leg in RingCentral's own words, and whose it is."""

    record_id: str = Field(examples=["QX7f14l8Nt_2aVB"])
    primary: bool = Field(description="Whether it belongs to the record that stands for the call.")
    index: int = Field(description="Its place in the record, from 0.")


class Party(Open):
    """One party, as events told of it."""

    id: str
    extension_id: str | None = None
    direction: str | None = None
    status: str | None = Field(None, examples=["Disconnected"])
    answered_at: datetime | None = None
    ended_at: datetime | None = None


class Related(Open):
    """A session that belongs with this call; its call shows this one."""

    kind: str = Field(
        examples=["attendedTransfer"],
        description="attendedTransfer, conference, pickup (taken from park, or by a colleague), supervising, "
        "ringOut, or linked where RingCentral does not say how.",
    )
    telephony_session_id: str | None
    session_id: str | None
    call_id: str | None = Field(description="Ours; null as long as we do not know that call.")


AttachmentStatus = Literal["attached", "parked"]


class Attachment(ApiModel):
    """What all things have in common that people and CRMs attach to a call."""

    call_id: str | None = Field(description="The call; null while parked.", examples=[_CALL_ID])
    session_ref: str | None = Field(
        description="The name under which it waits for its call; null once attached.", examples=[None]
    )
    status: AttachmentStatus
    version: int = Field(description="Rises by one with each change; its ETag begins with it.", examples=[1])
    created_at: datetime
    updated_at: datetime


class NoteOut(Attachment):
    """A note."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": _NOTE_ID,
                "callId": _CALL_ID,
                "sessionRef": None,
                "status": "attached",
                "source": "hubspot",
                "externalId": "engagement-55120",
                "title": "Offer for Field Ltd.",
                "text": "Dana wants an offer for 40 seats by Friday.",
                "format": "plain",
                "author": {"id": "711000101", "name": "Ana Ruiz"},
                "version": 1,
                "createdAt": "2026-03-10T18:10:02.125Z",
                "updatedAt": "2026-03-10T18:10:02.125Z",
            }
        }
    )

    id: str = Field(examples=[_NOTE_ID])
    source: str
    external_id: str | None
    title: str | None
    text: str
    format: str
    author: dict[str, Any] | None


class SentimentOut(Attachment):
    """How the call went, in the eyes of one source."""

    source: str = Field(examples=["ringsense"])
    label: str = Field(examples=["positive"])
    score: float | None = Field(description="-1 (bad) to 1 (good).", examples=[0.62])
    confidence: float | None = Field(examples=[0.9])
    scope: dict[str, Any] = Field(examples=[{"type": "call"}])
    original: Any = Field(None, description="The source's own value.")


class DispositionOut(Attachment):
    """What the agent says became of the call."""

    code: str = Field(examples=["callback"])
    label: str | None = Field(examples=["Call back"])
    author: dict[str, Any] | None


class LinkOut(Attachment):
    """What was written where in one CRM."""

    crm: str = Field(examples=["hubspot"])
    objects: list[dict[str, Any]] = Field(examples=[[{"type": "contact", "id": "501"}]])


_CALL_EXAMPLE: dict[str, Any] = {
    "id": _CALL_ID,
    "accountId": "908070001",
    "sessionId": "1229016182016",
    "telephonySessionId": _SESSION,
    "stage": "bootstrapped",
    "absentReason": None,
    "readiness": {
        "record": {"state": "ready", "since": "2026-03-10T18:09:22.480Z", "reason": None},
        "legs": {"state": "pending", "since": None, "reason": None},
        "recording": {"state": "ready", "since": "2026-03-10T18:09:22.480Z", "reason": None},
        "insights": {"state": "none", "since": None, "reason": None},
    },
    "version": 4,
    "direction": "Inbound",
    "internal": False,
    "outcome": "answered",
    "result": "Accepted",
    "action": "Phone Call",
    "from": {"phoneNumber": "+15550179001", "name": "Dana Field"},
    "to": {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"},
    "externalNumber": "+15550179001",
    "queueName": None,
    "startTime": "2026-03-10T18:07:41.012Z",
    "answerTime": "2026-03-10T18:07:44.300Z",
    "endTime": "2026-03-10T18:09:17.120Z",
    "duration": 96,
    "ringSeconds": 3.288,
    "talkSeconds": 92.82,
    "holdSeconds": 0.0,
    "recordings": [
        {
            "id": "3019664700",
            "type": "Automatic",
            "uri": "https://platform.ringcentral.com/restapi/v1.0/account/908070001/recording/3019664700",
            "contentUri": "https://media.ringcentral.com/restapi/v1.0/account/908070001/recording/3019664700/content",
            "contentUrl": "/v1/recordings/3019664700/content",
            "state": "ready",
            "contentType": "audio/mpeg",
            "duration": 92,
            "recordIds": ["QX7f14l8Nt_2aVB"],
            "announced": True,
        }
    ],
    "records": [
        {
            "id": "QX7f14l8Nt_2aVB",
            "sessionId": "1229016182016",
            "telephonySessionId": _SESSION,
            "startTime": "2026-03-10T18:07:41.000Z",
            "duration": 96,
            "type": "Voice",
            "direction": "Inbound",
            "action": "Phone Call",
            "result": "Accepted",
            "from": {"phoneNumber": "+15550179001", "name": "Dana Field"},
            "to": {"phoneNumber": "+15550100101", "name": "Ana Ruiz"},
            "primary": True,
            "source": "active-calls",
            "fetchedAt": "2026-03-10T18:09:22.480Z",
            "legCount": None,
        }
    ],
    "parties": [
        {
            "id": "p-a0c14f2b77d1ez1928b3f4c10z5e6f70000-2",
            "extensionId": "711000101",
            "direction": "Inbound",
            "status": "Disconnected",
        }
    ],
    "related": [],
    "conversationId": None,
    "notes": [],
    "sentiments": [],
    "disposition": None,
    "links": [],
    "source": "webhook",
    "bootstrappedAt": "2026-03-10T18:09:22.480Z",
    "timeToRecordSeconds": 5.36,
    "createdAt": "2026-03-10T18:07:41.201Z",
    "updatedAt": "2026-03-10T18:09:22.480Z",
}


class CallOut(ApiModel):
    """A call: one telephony session of one account, with everything that is known of it."""

    model_config = ConfigDict(json_schema_extra={"example": _CALL_EXAMPLE})

    id: str = Field(description="Ours; never changes.")
    account_id: str | None = Field(description="RingCentral's account; null until it is known.")
    session_id: str | None = Field(
        description="RingCentral's `sessionId`. Usually unique; null for conferences."
    )
    telephony_session_id: str | None = Field(
        description="RingCentral's `telephonySessionId`; null while only the `sessionId` is known."
    )
    stage: Stage = Field(
        description="How far it has come: live, ended, bootstrapped, reconciled, final; or absent."
    )
    absent_reason: str | None = Field(description="Why no record will come.")
    readiness: ReadinessOfParts
    version: int = Field(description="Rises by one with each visible change; the ETag begins with it.")
    direction: str | None = Field(description="Inbound or Outbound, as the company sees it.")
    internal: bool | None = Field(description="Whether both sides are extensions of the account.")
    outcome: Outcome
    result: str | None = Field(description="RingCentral's word for the outcome.")
    action: str | None
    from_: Side | None = Field(alias="from")
    to: Side | None
    external_number: str | None = Field(description="The number of the side outside the company.")
    queue_name: str | None
    start_time: datetime
    answer_time: datetime | None = Field(description="When a person answered, by the events.")
    end_time: datetime | None = Field(description="When the last party left, by the events.")
    duration: int | None = Field(description="Seconds, from the record.")
    ring_seconds: float | None
    talk_seconds: float | None
    hold_seconds: float | None
    recordings: list[Recording]
    records: list[RecordedCall] = Field(
        description="Its call-log records, one per extension involved, the primary one first."
    )
    parties: list[Party]
    related: list[Related]
    conversation_id: str | None = Field(
        description="The same for all calls that links join, directly or through others; null for a call that "
        "stands alone. May change when a further session is found to belong with them."
    )
    notes: list[NoteOut] = Field(description="Oldest first.")
    sentiments: list[SentimentOut] = Field(description="One per source.")
    disposition: DispositionOut | None
    links: list[LinkOut] = Field(description="One per CRM.")
    source: str = Field(description="What told us of the call first.", examples=["webhook"])
    bootstrapped_at: datetime | None = Field(description="When its first record was found.")
    time_to_record_seconds: float | None = Field(description="From the end to the first record.")
    created_at: datetime
    updated_at: datetime


class CallPage(ApiModel):
    """A page of calls."""

    data: list[CallOut]
    next_cursor: str | None = Field(description="For `cursor`, to get the next page; null on the last one.")


class BatchGet(ApiModel):
    """Which calls to get."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        json_schema_extra={"example": {"calls": ["1229016182016", _SESSION, _CALL_ID]}},
    )

    calls: list[Name] = Field(
        min_length=1, max_length=200, description="Ids of ours, `sessionId`s or `telephonySessionId`s."
    )


class BatchItem(ApiModel):
    """What became of one name."""

    name: str = Field(description="As it was asked.")
    status: Literal[200, 404, 409]
    call: CallOut | None = None
    detail: str | None = Field(None, description="Why there is no call.")
    candidates: list[str] | None = Field(None, description="With 409: the ids of the calls that it means.")


class BatchAnswer(ApiModel):
    """One item per name, in the order asked."""

    data: list[BatchItem]


class Event(ApiModel):
    """One visible change of a call."""

    seq: int = Field(description="Its number in the account's timeline: gap-free, in commit order.")
    type: str = Field(examples=["call.bootstrapped"])
    version: int = Field(description="The version of the call that it made.")
    at: datetime
    data: dict[str, Any]


class Timeline(ApiModel):
    """What happened to one call, oldest first."""

    data: list[Event]
    next_cursor: str | None


class Change(Event):
    """One visible change of any call of the account."""

    cursor: str = Field(description="To go on behind this change.", examples=["4711-9f8e7d6c5b4a"])
    call_id: str = Field(examples=[_CALL_ID])
    session_id: str | None
    telephony_session_id: str | None


class Changes(ApiModel):
    """Changes in order. `nextCursor` goes on behind them, also when there were none."""

    data: list[Change]
    next_cursor: str
    has_more: bool = Field(description="Whether more is there already.")


class Records(ApiModel):
    data: list[RecordWithLegs]


class Legs(ApiModel):
    data: list[Leg]


class Recordings(ApiModel):
    data: list[Recording]


class NoteList(ApiModel):
    data: list[NoteOut]


class SentimentList(ApiModel):
    data: list[SentimentOut]


class LinkList(ApiModel):
    data: list[LinkOut]
