"""Responses about calls, as models: they make the API description.

Responses are built as dicts in `views` and serialised directly, because validating fifty whole calls takes
longer than loading them; a test compares the two. Field names are RingCentral's where it has one.
RingCentral's own words (`result`, `action`, `direction`) pass through unchanged; `outcome` adds a closed set.
Times are RFC 3339 in UTC with milliseconds.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.api.schemas import ApiInput, ApiModel, OpenModel, Page
from app.calls.attachments.schemas import (
    CALL_ID_EXAMPLE,
    CountedSentiment,
    DispositionOut,
    LinkOut,
    NoteOut,
    SentimentOut,
)
from app.calls.derivation.agents import AgentRole
from app.calls.evidence.statements import Witness
from app.calls.model import Outcome, Stage
from app.calls.names import Name

_SESSION = "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000"


class Side(OpenModel):
    """One side of a call. Any field may be missing."""

    phone_number: str | None = Field(
        None, examples=["+15550179001"], description="In E.164 where that can be derived, else as shown."
    )
    raw_phone_number: str | None = Field(
        None, examples=["15550179001"], description="As RingCentral shows it, if that differs."
    )
    extension_number: str | None = Field(None, examples=["101"])
    extension_id: str | None = Field(None, examples=["711000101"])
    name: str | None = Field(None, examples=["Dana Field"])
    location: str | None = Field(None, examples=["San Mateo, CA"])


class Readiness(ApiModel):
    """The state of one part of a call."""

    state: Literal["pending", "ready", "none", "expired"]
    since: datetime | None = None
    reason: str | None = Field(None, description="Why the part does not exist, if known.")


class ReadinessOfParts(ApiModel):
    """The state of each part of a call."""

    record: Readiness
    legs: Readiness
    recording: Readiness
    voicemail: Readiness
    insights: Readiness


RecordingState = Literal["announced", "pending", "ready", "expired", "none"]


class Recording(ApiModel):
    """A recording, listed once even if several records and legs name it."""

    id: str = Field(examples=["3019664700"])
    type: str | None = Field(None, examples=["Automatic"])
    uri: str | None = None
    content_uri: str | None = Field(
        None, description="RingCentral's URL of the audio, which requires RingCentral's own token."
    )
    content_url: str | None = Field(
        description="The path of the audio on this service; null if the recording is no longer available.",
        examples=["/v1/recordings/3019664700/content"],
    )
    state: RecordingState = Field(
        description="announced (by an event), pending (a record names it), ready, expired (it did not "
        "become ready in time, or was deleted), none (too short to be stored)."
    )
    content_type: str | None = Field(description="Set once it is ready.", examples=["audio/mpeg"])
    duration: float | None = Field(description="In seconds; set once it is ready.", examples=[92])
    record_ids: list[str] = Field(description="The records that name it.")
    announced: bool = Field(description="Whether an event announced it during the call.")
    active: bool = Field(description="Whether it is running, by the last event about it.")


VoicemailState = Literal["pending", "ready", "expired", "none", "no-permission"]


class Voicemail(ApiModel):
    """The voicemail that the caller left."""

    id: str = Field(description="RingCentral's id of the message.", examples=["1504832006"])
    extension_id: str = Field(description="Whose mailbox it is in.", examples=["711000101"])
    state: VoicemailState = Field(
        description="pending (a record names it; its transcript may still come), ready, expired (it was not "
        "found in time, or was deleted), no-permission (no credentials of the service may read the mailbox), "
        "none."
    )
    duration: float | None = Field(description="In seconds; set once the message was read.", examples=[23])
    content_type: str | None = Field(examples=["audio/mpeg"])
    transcript: str | None = Field(description="What the caller said, if RingCentral transcribed it.")
    transcript_status: str | None = Field(
        description="RingCentral's word: NotAvailable, InProgress, TimedOut, Completed, CompletedPartially, "
        "Failed, Unknown. Null until the message was read.",
        examples=["Completed"],
    )
    content_url: str | None = Field(
        description="The path of the audio on this service; null if it is no longer available.",
        examples=["/v1/voicemails/1504832006/content"],
    )
    problem: str | None = Field(
        description="Why the last request failed or the transcript is missing: a code of the service, such "
        "as `no-credentials`, or RingCentral's."
    )
    remedy: str | None = Field(description="With no-permission: what the operator can do.")


class RecordedCall(OpenModel):
    """A call-log record as RingCentral returned it, without its legs."""

    id: str = Field(examples=["QX7f14l8Nt_2aVB"])
    primary: bool = Field(description="Whether this record represents the call.")
    source: str = Field(description="Where the service read it.", examples=["call-log"])
    fetched_at: datetime
    leg_count: int | None = Field(
        None, description="The number of legs; null if they have not been read yet."
    )


class RecordWithLegs(RecordedCall):
    """A whole call-log record as RingCentral returned it."""

    legs: list[dict[str, Any]] | None = None


class Leg(OpenModel):
    """A leg as RingCentral returned it, and its record."""

    record_id: str = Field(examples=["QX7f14l8Nt_2aVB"])
    primary: bool = Field(description="Whether it belongs to the record that represents the call.")
    index: int = Field(description="Its position in the record, from 0.")


class Party(OpenModel):
    """One party, from the telephony events."""

    id: str
    extension_id: str | None = None
    direction: str | None = None
    status: str | None = Field(None, examples=["Disconnected"])
    answered_at: datetime | None = None
    ended_at: datetime | None = None


class Agent(OpenModel):
    """A person of the company in a call."""

    extension_id: str | None = Field(examples=["711000101"])
    extension_number: str | None = Field(examples=["101"])
    name: str | None = Field(examples=["Ana Ruiz"])
    email: str | None = Field(examples=["ana@example.com"], description="From the directory.")
    role: AgentRole = Field(
        description="answered (also: placed a call that was answered), placed (a call that nobody answered), "
        "rang, transferredTo, transferredFrom, supervised."
    )
    answered_at: datetime | None
    talk_seconds: float | None = Field(description="Null where no event and no leg tells it.")


class FieldSource(ApiModel):
    """Where the value of a field comes from."""

    source: Witness
    record_id: str | None = Field(description="The call-log record, if it is one.")
    extension_id: str | None = Field(description="Whose record it is.")
    at: datetime | None = Field(description="When the record was read, or the time of the last event.")
    may_change: bool = Field(description="False once the call is final.")


class Related(OpenModel):
    """A session related to this call. The call of that session shows this one."""

    kind: str = Field(
        examples=["attendedTransfer"],
        description="attendedTransfer, conference, pickup (from park, or by a colleague), supervising, "
        "ringOut; or linked, if RingCentral does not say how they are related.",
    )
    telephony_session_id: str | None
    session_id: str | None
    call_id: str | None = Field(description="Our id of that call; null while it is unknown.")


class Conversation(ApiModel):
    """The conversation of a call: all calls that are related to it, directly or through others."""

    id: str | None = Field(
        description="The same for all its calls; null for a call without related calls. May change when "
        "another related session is found.",
        examples=["conv_5d0f7a3e9b1c4d6f8a2e0c4b"],
    )
    main_call_id: str = Field(
        description="Our id of its main call, the one to write into a CRM: the customer's. May change until "
        "all its calls are final.",
        examples=[CALL_ID_EXAMPLE],
    )
    is_main: bool = Field(
        description="Whether this is the main call. True for every call without related calls, also for an "
        "internal one; `internal` tells those apart."
    )


_AGENT_EXAMPLE: dict[str, Any] = {
    "extensionId": "711000101",
    "extensionNumber": "101",
    "name": "Ana Ruiz",
    "email": "ana@example.com",
    "role": "answered",
    "answeredAt": "2026-03-10T18:07:44.300Z",
    "talkSeconds": 92.82,
}
_CALL_EXAMPLE: dict[str, Any] = {
    "id": CALL_ID_EXAMPLE,
    "accountId": "908070001",
    "sessionId": "1229016182016",
    "telephonySessionId": _SESSION,
    "stage": "bootstrapped",
    "absentReason": None,
    "readiness": {
        "record": {"state": "ready", "since": "2026-03-10T18:09:22.480Z", "reason": None},
        "legs": {"state": "pending", "since": None, "reason": None},
        "recording": {"state": "ready", "since": "2026-03-10T18:09:22.480Z", "reason": None},
        "voicemail": {"state": "none", "since": "2026-03-10T18:09:22.480Z", "reason": None},
        "insights": {"state": "none", "since": None, "reason": None},
    },
    "version": 4,
    "direction": "Inbound",
    "internal": False,
    "outcome": "answered",
    "type": "voice",
    "result": "Accepted",
    "action": "Phone Call",
    "from": {"phoneNumber": "+15550179001", "name": "Dana Field"},
    "to": {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"},
    "externalNumber": "+15550179001",
    "queueName": None,
    "agents": [_AGENT_EXAMPLE],
    "agent": _AGENT_EXAMPLE,
    "origin": "Call",
    "transferredTo": None,
    "parkId": None,
    "onBehalfOf": None,
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
            "active": False,
        }
    ],
    "voicemail": None,
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
    "conversation": {"id": None, "mainCallId": CALL_ID_EXAMPLE, "isMain": True},
    "notes": [],
    "sentiments": [],
    "sentiment": None,
    "disposition": None,
    "links": [],
    "source": "webhook",
    "bootstrappedAt": "2026-03-10T18:09:22.480Z",
    "timeToRecordSeconds": 5.36,
    "createdAt": "2026-03-10T18:07:41.201Z",
    "updatedAt": "2026-03-10T18:09:22.480Z",
}


class CallOut(ApiModel):
    """A call: one telephony session of one account, with everything that is known about it."""

    model_config = ConfigDict(json_schema_extra={"example": _CALL_EXAMPLE})

    id: str = Field(description="Our id, which never changes.")
    account_id: str | None = Field(description="RingCentral's id of the account; null until it is known.")
    session_id: str | None = Field(
        description="RingCentral's `sessionId`. Usually unique; null for conferences."
    )
    telephony_session_id: str | None = Field(
        description="RingCentral's `telephonySessionId`; null while only the `sessionId` is known."
    )
    stage: Stage = Field(
        description="The progress of the call: live, ended, bootstrapped, reconciled, final; or absent."
    )
    absent_reason: str | None = Field(description="Why the call will have no record.")
    readiness: ReadinessOfParts
    version: int = Field(description="Increases by one with each visible change. The ETag starts with it.")
    direction: str | None = Field(description="Inbound or Outbound, from the view of the company.")
    internal: bool | None = Field(
        description="Whether everybody in it belongs to the company; null while nothing tells."
    )
    outcome: Outcome
    type: Literal["voice", "fax"] = Field(description="Faxes are calls if the operator wants them.")
    result: str | None = Field(description="RingCentral's word for the outcome.")
    action: str | None
    from_: Side | None = Field(alias="from")
    to: Side | None
    external_number: str | None = Field(
        description="The number of the side outside the company, in E.164; null for an internal call, a "
        "withheld number, a conference or a service code."
    )
    queue_name: str | None
    agents: list[Agent] = Field(description="The people of the company in it, in the order they came.")
    agent: Agent | None = Field(
        description="Whose call it is: the one who placed it, or else the first who answered."
    )
    origin: str | None = Field(
        description="How the call was started.", examples=["Call", "RingOut", "Conference"]
    )
    transferred_to: str | None = Field(
        description="The outside number to which it was transferred; colleagues are in `agents`."
    )
    park_id: str | None = Field(description="The location at which it was parked.")
    on_behalf_of: str | None = Field(description="For whom an assistant placed or took the call.")
    start_time: datetime
    answer_time: datetime | None = Field(description="When a person answered, from the events.")
    end_time: datetime | None = Field(description="When the last party left, from the events.")
    duration: int | None = Field(description="In seconds, from the record.")
    ring_seconds: float | None
    talk_seconds: float | None
    hold_seconds: float | None
    recordings: list[Recording]
    voicemail: Voicemail | None
    records: list[RecordedCall] = Field(
        description="The call-log records, one per extension involved, the primary one first."
    )
    parties: list[Party]
    related: list[Related]
    conversation_id: str | None = Field(
        description="The same for all calls that are related, directly or through others; null for a call "
        "without related calls. May change when another related session is found."
    )
    conversation: Conversation
    notes: list[NoteOut] = Field(description="Oldest first.")
    sentiments: list[SentimentOut] = Field(description="One per source and maker.")
    sentiment: CountedSentiment | None
    disposition: DispositionOut | None
    links: list[LinkOut] = Field(description="One per CRM.")
    source: str = Field(description="Where the call was first seen.", examples=["webhook"])
    bootstrapped_at: datetime | None = Field(description="When its first record was found.")
    time_to_record_seconds: float | None = Field(description="From the end of the call to its first record.")
    created_at: datetime
    updated_at: datetime
    provenance: dict[str, FieldSource] | None = Field(
        None, description="With `include=provenance`: the source of each field, by its name."
    )
    included: dict[str, Any] | None = Field(
        None,
        description="With `include`: each part by its name, as the route for it shows it. `projections` has "
        "one by CRM.",
    )


class CallPage(Page[CallOut]):
    """A page of calls."""


class BatchGet(ApiInput):
    """The calls to get."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"calls": ["1229016182016", _SESSION, CALL_ID_EXAMPLE]}},
    )

    calls: list[Name] = Field(
        min_length=1, max_length=200, description="Our ids, `sessionId`s or `telephonySessionId`s."
    )


class BatchItem(ApiModel):
    """The result for one name."""

    name: str = Field(description="The name as it was sent.")
    status: Literal[200, 404, 409, 410]
    call: CallOut | None = None
    detail: str | None = Field(None, description="Why there is no call.")
    candidates: list[str] | None = Field(None, description="With 409: the ids of the matching calls.")


class BatchAnswer(ApiModel):
    """One item per name, in the order of the request."""

    data: list[BatchItem]


class Records(Page[RecordWithLegs]):
    """The call-log records of a call, the primary one first."""


class Legs(Page[Leg]):
    """The legs of a call, those of its primary record first."""


class Recordings(Page[Recording]):
    """The recordings of a call."""
