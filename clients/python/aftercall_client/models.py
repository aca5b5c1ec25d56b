"""The shapes of requests and responses. Made by `generate.py`; do not edit.

All are plain dicts. Responses may have further fields, and enumerations further values, later.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Stage: TypeAlias = Literal["live", "ended", "bootstrapped", "reconciled", "final", "absent"]


class Readiness(TypedDict):
    state: Literal["pending", "ready", "none", "expired"]
    since: NotRequired[str | None]
    reason: NotRequired[str | None]


class ReadinessOfParts(TypedDict):
    record: Readiness
    legs: Readiness
    recording: Readiness
    voicemail: Readiness
    insights: Readiness


Outcome: TypeAlias = Literal[
    "inProgress",
    "answered",
    "missed",
    "voicemail",
    "abandoned",
    "busy",
    "noAnswer",
    "rejected",
    "blocked",
    "failed",
    "fax",
    "unknown",
]


class Side(TypedDict):
    phoneNumber: NotRequired[str | None]
    rawPhoneNumber: NotRequired[str | None]
    extensionNumber: NotRequired[str | None]
    extensionId: NotRequired[str | None]
    name: NotRequired[str | None]
    location: NotRequired[str | None]


AgentRole: TypeAlias = Literal["answered", "placed", "rang", "transferredTo", "transferredFrom", "supervised"]


class Agent(TypedDict):
    extensionId: str | None
    extensionNumber: str | None
    name: str | None
    email: str | None
    role: AgentRole
    answeredAt: str | None
    talkSeconds: float | None


class Recording(TypedDict):
    id: str
    type: NotRequired[str | None]
    uri: NotRequired[str | None]
    contentUri: NotRequired[str | None]
    contentUrl: str | None
    state: Literal["announced", "pending", "ready", "expired", "none"]
    contentType: str | None
    duration: float | None
    recordIds: list[str]
    announced: bool
    active: bool


class Voicemail(TypedDict):
    id: str
    extensionId: str
    state: Literal["pending", "ready", "expired", "none", "no-permission"]
    duration: float | None
    contentType: str | None
    transcript: str | None
    transcriptStatus: str | None
    contentUrl: str | None
    problem: str | None
    remedy: str | None


class RecordedCall(TypedDict):
    id: str
    primary: bool
    source: str
    fetchedAt: str
    legCount: NotRequired[int | None]


class Party(TypedDict):
    id: str
    extensionId: NotRequired[str | None]
    direction: NotRequired[str | None]
    status: NotRequired[str | None]
    answeredAt: NotRequired[str | None]
    endedAt: NotRequired[str | None]


class Related(TypedDict):
    kind: str
    telephonySessionId: str | None
    sessionId: str | None
    callId: str | None


class Conversation(TypedDict):
    id: str | None
    mainCallId: str
    isMain: bool


NoteFormat: TypeAlias = Literal["plain", "markdown", "html"]


class NoteOut(TypedDict):
    callId: str | None
    sessionRef: str | None
    status: Literal["attached", "parked"]
    version: int
    createdAt: str
    updatedAt: str
    id: str
    source: str
    externalId: str | None
    title: str | None
    text: str
    plainText: str
    format: NoteFormat
    author: dict[str, Any] | None


Maker: TypeAlias = Literal["person", "machine"]


class SentimentOut(TypedDict):
    callId: str | None
    sessionRef: str | None
    status: Literal["attached", "parked"]
    version: int
    createdAt: str
    updatedAt: str
    source: str
    madeBy: Maker
    label: str
    score: float | None
    confidence: float | None
    scope: dict[str, Any]
    original: NotRequired[Any]


class CountedSentiment(TypedDict):
    source: str
    madeBy: Maker
    label: str
    score: float | None


class DispositionOut(TypedDict):
    callId: str | None
    sessionRef: str | None
    status: Literal["attached", "parked"]
    version: int
    createdAt: str
    updatedAt: str
    code: str
    label: str | None
    author: dict[str, Any] | None


class LinkOut(TypedDict):
    callId: str | None
    sessionRef: str | None
    status: Literal["attached", "parked"]
    version: int
    createdAt: str
    updatedAt: str
    crm: str
    objects: list[dict[str, Any]]


Witness: TypeAlias = Literal["presence", "session-events", "active-calls", "call-log"]


class FieldSource(TypedDict):
    source: Witness
    recordId: str | None
    extensionId: str | None
    at: str | None
    mayChange: bool


CallOut = TypedDict(
    "CallOut",
    {
        "id": str,
        "accountId": str | None,
        "sessionId": str | None,
        "telephonySessionId": str | None,
        "stage": Stage,
        "absentReason": str | None,
        "readiness": ReadinessOfParts,
        "version": int,
        "direction": str | None,
        "internal": bool | None,
        "outcome": Outcome,
        "type": Literal["voice", "fax"],
        "result": str | None,
        "action": str | None,
        "from": Side | None,
        "to": Side | None,
        "externalNumber": str | None,
        "queueName": str | None,
        "agents": list[Agent],
        "agent": Agent | None,
        "origin": str | None,
        "transferredTo": str | None,
        "parkId": str | None,
        "onBehalfOf": str | None,
        "startTime": str,
        "answerTime": str | None,
        "endTime": str | None,
        "duration": int | None,
        "ringSeconds": float | None,
        "talkSeconds": float | None,
        "holdSeconds": float | None,
        "recordings": list[Recording],
        "voicemail": Voicemail | None,
        "records": list[RecordedCall],
        "parties": list[Party],
        "related": list[Related],
        "conversationId": str | None,
        "conversation": Conversation,
        "notes": list[NoteOut],
        "sentiments": list[SentimentOut],
        "sentiment": CountedSentiment | None,
        "disposition": DispositionOut | None,
        "links": list[LinkOut],
        "source": str,
        "bootstrappedAt": str | None,
        "timeToRecordSeconds": float | None,
        "createdAt": str,
        "updatedAt": str,
        "provenance": NotRequired[dict[str, FieldSource] | None],
        "included": NotRequired[dict[str, Any] | None],
    },
)


class BatchItem(TypedDict):
    name: str
    status: Literal[200, 404, 409, 410]
    call: NotRequired[CallOut | None]
    detail: NotRequired[str | None]
    candidates: NotRequired[list[str] | None]


class BatchAnswer(TypedDict):
    data: list[BatchItem]


class Speaker(TypedDict):
    speakerId: str | None
    name: str | None
    extensionId: str | None
    phoneNumber: str | None
    partyId: str | None


class Insight(TypedDict):
    value: NotRequired[str | None]
    text: NotRequired[str | None]
    speakerId: NotRequired[str | None]
    section: NotRequired[str | None]
    start: NotRequired[float | None]
    end: NotRequired[float | None]


class RecordingInsights(TypedDict):
    recordingId: str | None
    telephonySessionId: str | None
    title: str | None
    recordingStartTime: str | None
    recordingDuration: float | None
    creationTime: str | None
    lastModifiedTime: str | None
    fetchedAt: str
    source: str
    speakers: list[Speaker]
    transcript: list[Insight]
    summary: list[Insight]
    bulletedSummary: list[Insight]
    highlights: list[Insight]
    nextSteps: list[Insight]
    callNotes: list[Insight]
    aiScore: float | None
    sentiment: str | None
    sentimentWords: list[str]
    otherInsights: dict[str, Any]


class CallInsights(TypedDict):
    data: list[RecordingInsights]
    readiness: Readiness


class LiveData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    direction: NotRequired[str | None]


class CallLiveChange(TypedDict):
    seq: int
    type: Literal["call.live"]
    version: int
    at: str
    data: LiveData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class EndedData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    reason: NotRequired[str | None]
    endedAt: NotRequired[str | None]
    outcome: NotRequired[Outcome | None]
    source: NotRequired[str | None]


class CallEndedChange(TypedDict):
    seq: int
    type: Literal["call.ended"]
    version: int
    at: str
    data: EndedData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class ReasonData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    reason: NotRequired[str | None]


class CallRevivedChange(TypedDict):
    seq: int
    type: Literal["call.revived"]
    version: int
    at: str
    data: ReasonData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class BootstrappedData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    source: NotRequired[str | None]
    seconds: NotRequired[float | None]
    outcome: NotRequired[Outcome | None]


class CallBootstrappedChange(TypedDict):
    seq: int
    type: Literal["call.bootstrapped"]
    version: int
    at: str
    data: BootstrappedData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class ChangeData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]


class CallReconciledChange(TypedDict):
    seq: int
    type: Literal["call.reconciled"]
    version: int
    at: str
    data: ChangeData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class FinalData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    reason: NotRequired[str | None]


class CallFinalChange(TypedDict):
    seq: int
    type: Literal["call.final"]
    version: int
    at: str
    data: FinalData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class CallAbsentChange(TypedDict):
    seq: int
    type: Literal["call.absent"]
    version: int
    at: str
    data: ReasonData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class UpdatedData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    source: NotRequired[str | None]
    fields: NotRequired[list[str] | None]
    reason: NotRequired[str | None]
    endedAt: NotRequired[str | None]
    primaryRecordId: NotRequired[str | None]
    conversationId: NotRequired[str | None]
    mainCallId: NotRequired[str | None]


class CallUpdatedChange(TypedDict):
    seq: int
    type: Literal["call.updated"]
    version: int
    at: str
    data: UpdatedData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class LinkedCall(TypedDict):
    kind: str
    telephonySessionId: str | None
    sessionId: str | None
    callId: str | None


class LinkedData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    conversationId: NotRequired[str | None]
    related: NotRequired[list[LinkedCall] | None]


class CallLinkedChange(TypedDict):
    seq: int
    type: Literal["call.linked"]
    version: int
    at: str
    data: LinkedData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class CallErasedChange(TypedDict):
    seq: int
    type: Literal["call.erased"]
    version: int
    at: str
    data: ChangeData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class RecordingData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    recordingId: NotRequired[str | None]
    reason: NotRequired[str | None]


class RecordingAnnouncedChange(TypedDict):
    seq: int
    type: Literal["recording.announced"]
    version: int
    at: str
    data: RecordingData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class RecordingPendingChange(TypedDict):
    seq: int
    type: Literal["recording.pending"]
    version: int
    at: str
    data: RecordingData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class RecordingReadyChange(TypedDict):
    seq: int
    type: Literal["recording.ready"]
    version: int
    at: str
    data: RecordingData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class RecordingExpiredChange(TypedDict):
    seq: int
    type: Literal["recording.expired"]
    version: int
    at: str
    data: RecordingData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class RecordingNoneChange(TypedDict):
    seq: int
    type: Literal["recording.none"]
    version: int
    at: str
    data: RecordingData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class VoicemailData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    voicemailId: NotRequired[str | None]
    reason: NotRequired[str | None]


class VoicemailPendingChange(TypedDict):
    seq: int
    type: Literal["voicemail.pending"]
    version: int
    at: str
    data: VoicemailData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class VoicemailReadyChange(TypedDict):
    seq: int
    type: Literal["voicemail.ready"]
    version: int
    at: str
    data: VoicemailData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class VoicemailExpiredChange(TypedDict):
    seq: int
    type: Literal["voicemail.expired"]
    version: int
    at: str
    data: VoicemailData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class VoicemailNoneChange(TypedDict):
    seq: int
    type: Literal["voicemail.none"]
    version: int
    at: str
    data: VoicemailData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class VoicemailRefusedChange(TypedDict):
    seq: int
    type: Literal["voicemail.refused"]
    version: int
    at: str
    data: VoicemailData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class InsightsData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    recordingId: NotRequired[str | None]
    lastModifiedTime: NotRequired[str | None]


class InsightsReadyChange(TypedDict):
    seq: int
    type: Literal["insights.ready"]
    version: int
    at: str
    data: InsightsData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class InsightsUpdatedChange(TypedDict):
    seq: int
    type: Literal["insights.updated"]
    version: int
    at: str
    data: InsightsData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class NoteData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    noteId: NotRequired[str | None]
    source: NotRequired[str | None]


class NoteCreatedChange(TypedDict):
    seq: int
    type: Literal["note.created"]
    version: int
    at: str
    data: NoteData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class NoteUpdatedChange(TypedDict):
    seq: int
    type: Literal["note.updated"]
    version: int
    at: str
    data: NoteData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class NoteDeletedChange(TypedDict):
    seq: int
    type: Literal["note.deleted"]
    version: int
    at: str
    data: NoteData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class SentimentData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    source: NotRequired[str | None]
    label: NotRequired[str | None]
    madeBy: NotRequired[str | None]


class SentimentSetChange(TypedDict):
    seq: int
    type: Literal["sentiment.set"]
    version: int
    at: str
    data: SentimentData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class SentimentDeletedChange(TypedDict):
    seq: int
    type: Literal["sentiment.deleted"]
    version: int
    at: str
    data: SentimentData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class DispositionData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    code: NotRequired[str | None]


class DispositionSetChange(TypedDict):
    seq: int
    type: Literal["disposition.set"]
    version: int
    at: str
    data: DispositionData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class DispositionDeletedChange(TypedDict):
    seq: int
    type: Literal["disposition.deleted"]
    version: int
    at: str
    data: DispositionData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class LinkData(TypedDict):
    stage: Stage
    keyId: NotRequired[str | None]
    crm: NotRequired[str | None]


class LinkSetChange(TypedDict):
    seq: int
    type: Literal["link.set"]
    version: int
    at: str
    data: LinkData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class LinkDeletedChange(TypedDict):
    seq: int
    type: Literal["link.deleted"]
    version: int
    at: str
    data: LinkData
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None


class Author(TypedDict):
    id: NotRequired[str | None]
    name: NotRequired[str | None]
    email: NotRequired[str | None]


class DispositionIn(TypedDict):
    code: str
    label: NotRequired[str | None]
    author: NotRequired[Author | str | None]


class NumberOut(TypedDict):
    phoneNumber: str | None
    rawPhoneNumber: str | None
    usageType: str | None


class ExtensionOut(TypedDict):
    id: str
    extensionNumber: str | None
    name: str | None
    email: str | None
    type: str | None
    status: str | None
    timeZone: str | None
    phoneNumbers: list[NumberOut]
    leftAt: str | None


class LinkedObject(TypedDict):
    type: str
    id: str
    url: NotRequired[str | None]
    at: NotRequired[str | None]


class LinkIn(TypedDict):
    objects: list[LinkedObject]


class MyKey(TypedDict):
    keyId: str
    name: str
    scopes: list[str]
    origins: list[str]


class MyAccount(TypedDict):
    accountId: str | None
    homeCountry: str | None


class Limits(TypedDict):
    callsPerPage: int
    changesPerPage: int
    waitSeconds: int
    bodyBytes: int
    itemsPerBatch: int
    requestsPerMinute: int | None
    requestsAtOnce: int | None


class Me(TypedDict):
    key: MyKey
    account: MyAccount
    limits: Limits
    serviceVersion: str


class NoteIn(TypedDict):
    text: str
    title: NotRequired[str | None]
    format: NotRequired[NoteFormat]
    author: NotRequired[Author | str | None]
    source: NotRequired[str]
    externalId: NotRequired[str | None]
    createdAt: NotRequired[str | None]


class NoteList(TypedDict):
    data: list[NoteOut]
    nextCursor: str | None


Crm: TypeAlias = Literal["hubspot", "salesforce", "pipedrive", "zoho", "zendesk", "dynamics", "generic"]

ReasonCode: TypeAlias = Literal[
    "not-over", "not-a-call", "fax", "internal", "not-main", "conference", "already-written", "field-missing"
]


class ProjectionReason(TypedDict):
    code: ReasonCode
    field: str | None
    detail: str


WarningCode: TypeAlias = Literal[
    "owner-unknown",
    "owner-assumed",
    "contact-unknown",
    "duration-estimated",
    "duration-rounded",
    "time-zone-unknown",
    "shortened",
    "value-left-out",
    "notes-left-out",
    "recording-left-out",
    "no-record",
    "may-change",
]


class ProjectionWarning(TypedDict):
    code: WarningCode
    field: str | None
    detail: str


class ExternalId(TypedDict):
    field: str | None
    value: str
    remark: str


class CrmRequest(TypedDict):
    method: Literal["POST", "PATCH"] | None
    path: str | None
    body: dict[str, Any]


class Lookup(TypedDict):
    field: str
    what: Literal["owner", "contact"]
    by: Literal["email", "phoneNumber"]
    value: str | None


class ProjectionOut(TypedDict):
    crm: Crm
    object: str
    apiVersion: str | None
    callId: str
    callVersion: int
    mayChange: bool
    safeToCreate: bool
    reasons: list[ProjectionReason]
    warnings: list[ProjectionWarning]
    externalId: ExternalId
    hash: str
    request: CrmRequest
    followUps: list[CrmRequest]
    lookups: list[Lookup]
    objects: list[dict[str, Any]]
    sources: list[str]


ScopeType: TypeAlias = Literal["call", "party", "period"]

ScopeIn = TypedDict(
    "ScopeIn",
    {
        "type": NotRequired[ScopeType],
        "partyId": NotRequired[str | None],
        "extensionId": NotRequired[str | None],
        "from": NotRequired[float | None],
        "to": NotRequired[float | None],
    },
)

JsonValue: TypeAlias = Any


class SentimentIn(TypedDict):
    label: NotRequired[str | None]
    score: NotRequired[float | None]
    confidence: NotRequired[float | None]
    madeBy: NotRequired[Maker | None]
    scope: NotRequired[ScopeIn]
    original: NotRequired[JsonValue]


Direction: TypeAlias = Literal["Inbound", "Outbound"]

Internal: TypeAlias = Literal["true", "false", "null"]

Label: TypeAlias = Literal["positive", "neutral", "negative", "mixed"]

Order: TypeAlias = Literal["-startTime", "startTime", "-updatedAt", "updatedAt", "-endTime", "endTime"]

Included: TypeAlias = Literal[
    "provenance",
    "conversation",
    "insights",
    "legs",
    "projections.dynamics",
    "projections.generic",
    "projections.hubspot",
    "projections.pipedrive",
    "projections.salesforce",
    "projections.zendesk",
    "projections.zoho",
]


class CallFilters(TypedDict, total=False):
    fields: str | None
    include: Sequence[
        Literal[
            "insights",
            "legs",
            "projections.dynamics",
            "projections.generic",
            "projections.hubspot",
            "projections.pipedrive",
            "projections.salesforce",
            "projections.zendesk",
            "projections.zoho",
        ]
    ]
    started_after: datetime | str | None
    started_before: datetime | str | None
    ended_after: datetime | str | None
    ended_before: datetime | str | None
    updated_after: datetime | str | None
    direction: Direction | None
    extension_id: str | None
    agent: str | None
    phone_number: str | None
    outcome: Sequence[Outcome]
    stage: Sequence[Stage]
    main: bool | None
    internal: Sequence[Internal]
    has_recording: bool | None
    sentiment: Label | None
    has_notes: bool | None
    unlinked_crm: str | None
    agent_email: str | None
    agent_extension_number: str | None
    order: Order
    limit: int


class CallParameters(TypedDict, total=False):
    fields: str | None
    include: Sequence[Included]


class ExtensionFilters(TypedDict, total=False):
    number: str | None
    email: str | None
    type: Sequence[str]
    status: Sequence[str]
    include_left: bool
    limit: int


class ProjectionParameters(TypedDict, total=False):
    object: str | None
    api_version: str | None
    owner_time_zone: str | None
    duration_of: Literal["call", "talk"]
    recording_url: str | None
    app_id: str | None
    linked_crm: str | None


class Resync(TypedDict):
    type: Literal["resync"]
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None
    version: int
    at: str
    seq: None
    data: dict[str, Any]


"""A call of which changes were missed: read it again. Made by `follow`, after `cursor-expired`."""


Change: TypeAlias = (
    CallLiveChange
    | CallEndedChange
    | CallRevivedChange
    | CallBootstrappedChange
    | CallReconciledChange
    | CallFinalChange
    | CallAbsentChange
    | CallUpdatedChange
    | CallLinkedChange
    | CallErasedChange
    | RecordingAnnouncedChange
    | RecordingPendingChange
    | RecordingReadyChange
    | RecordingExpiredChange
    | RecordingNoneChange
    | VoicemailPendingChange
    | VoicemailReadyChange
    | VoicemailExpiredChange
    | VoicemailNoneChange
    | VoicemailRefusedChange
    | InsightsReadyChange
    | InsightsUpdatedChange
    | NoteCreatedChange
    | NoteUpdatedChange
    | NoteDeletedChange
    | SentimentSetChange
    | SentimentDeletedChange
    | DispositionSetChange
    | DispositionDeletedChange
    | LinkSetChange
    | LinkDeletedChange
    | Resync
)
