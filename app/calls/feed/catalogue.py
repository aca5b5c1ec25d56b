"""Every type of change that the feed shows: when it comes, and what its `data` has.

`docs/api/changes.md` and the API description are made from it, and tests compare each change that is written
with it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field

from app.api.schemas import ApiModel, OpenModel
from app.calls.model import Outcome, Stage

_END_EXAMPLE = "2026-03-10T18:09:16.752Z"


class ChangeData(ApiModel):
    """What every change has. Further fields may be added, and earlier versions wrote fewer."""

    stage: Stage = Field(description="The stage of the call after the change.")
    key_id: str | None = Field(
        default=None,
        description="The API key that made the change, if one did.",
        examples=["key_01jp0v7s4v8x2m6c9q3t5r7w1e"],
    )


class LiveData(ChangeData):
    """A call began."""

    direction: str | None = None


class EndedData(ChangeData):
    """A call ended."""

    reason: str | None = Field(default=None, description="How the end was recognised.")
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    source: str | None = Field(
        default=None, description="Where the call was found, if no event announced it.", examples=["call-log"]
    )


class UpdatedData(ChangeData):
    """Fields of a call changed."""

    source: str | None = Field(
        default=None,
        description="What changed it: events, a record, insights; `linked-call` if a note or the "
        "disposition of another call changed whose main call it is.",
        examples=["webhook"],
    )
    fields: list[str] | None = Field(default=None, description="The fields that changed, where it says so.")
    reason: str | None = None
    ended_at: datetime | None = None
    primary_record_id: str | None = None
    conversation_id: str | None = None
    main_call_id: str | None = Field(default=None, description="The call of its conversation for a CRM.")


class BootstrappedData(ChangeData):
    """A call has its first record."""

    source: str | None = Field(default=None, examples=["active-calls"])
    seconds: float | None = Field(default=None, description="From the end of the call to its record.")
    outcome: Outcome | None = None


class FinalData(ChangeData):
    """Nothing more is read of a call."""

    reason: str | None = Field(default=None, description="Why it is final although a part is missing.")


class ReasonData(ChangeData):
    """A change with a reason."""

    reason: str | None = None


class LinkedCall(OpenModel):
    """A session that is related to a call, as the call shows it."""

    kind: str
    telephony_session_id: str | None
    session_id: str | None
    call_id: str | None


class LinkedData(ChangeData):
    """The related calls of a call changed."""

    conversation_id: str | None = None
    related: list[LinkedCall] | None = None


class RecordingData(ChangeData):
    """The state of a recording changed."""

    recording_id: str | None = None
    reason: str | None = None


class VoicemailData(ChangeData):
    """The state of a voicemail changed."""

    voicemail_id: str | None = None
    reason: str | None = None


class InsightsData(ChangeData):
    """Insights of a recording."""

    recording_id: str | None = None
    last_modified_time: datetime | None = None


class NoteData(ChangeData):
    """A note changed. Its text is in the call."""

    note_id: str | None = None
    source: str | None = None


class SentimentData(ChangeData):
    """The sentiment of a source changed."""

    source: str | None = None
    label: str | None = None
    made_by: str | None = Field(default=None, description="`person` or `machine`.")


class DispositionData(ChangeData):
    """The disposition changed."""

    code: str | None = None


class LinkData(ChangeData):
    """The link to a CRM changed."""

    crm: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeType:
    """One type of change. `example`: its `data`."""

    name: str
    when: str
    data: type[ChangeData]
    example: dict[str, Any]


def _type(name: str, when: str, data: type[ChangeData], stage: Stage, **example: Any) -> ChangeType:
    return ChangeType(name, when, data, {"stage": stage.value, **example})


def _written(word: str, verb: str, when: str, data: type[ChangeData], **example: Any) -> ChangeType:
    key = {"keyId": "key_01jp0v7s4v8x2m6c9q3t5r7w1e"}
    return _type(f"{word}.{verb}", when, data, Stage.BOOTSTRAPPED, **example, **key)


_NOTE = {"noteId": "note_01jp0v7s4v8x2m6c9q3t5r7w1f", "source": "hubspot"}
_MOOD = {"source": "hubspot", "label": "positive", "madeBy": "machine"}

CHANGE_TYPES: tuple[ChangeType, ...] = (
    _type("call.live", "the first event of a call", LiveData, Stage.LIVE, direction="Inbound"),
    _type(
        "call.ended",
        "the call is over, by its events; or a record shows a call that no event announced",
        EndedData,
        Stage.ENDED,
        reason="all-parties-left",
        endedAt=_END_EXAMPLE,
        outcome="answered",
    ),
    _type("call.revived", "a later event shows that it goes on", ReasonData, Stage.LIVE, reason="late-event"),
    _type(
        "call.bootstrapped",
        "its first record is there",
        BootstrappedData,
        Stage.BOOTSTRAPPED,
        source="active-calls",
        seconds=6.2,
        outcome="answered",
    ),
    _type(
        "call.reconciled", "a record of the Call Log, with its legs, is there", ChangeData, Stage.RECONCILED
    ),
    _type(
        "call.final",
        "nothing more is read of it; once per call: what changes it later is a `call.updated`",
        FinalData,
        Stage.FINAL,
    ),
    _type("call.absent", "no record will come", ReasonData, Stage.ABSENT, reason="not-in-call-log"),
    _type(
        "call.updated",
        "visible fields changed, without another stage; or what a CRM is told of it as the main call",
        UpdatedData,
        Stage.BOOTSTRAPPED,
        source="call-log",
    ),
    _type(
        "call.linked",
        "its related calls or its conversation changed",
        LinkedData,
        Stage.ENDED,
        conversationId="conv_5d0f7a3e9b1c4d6f8a2e0c4b",
        related=[],
    ),
    _type(
        "call.erased",
        "the call was erased, and nothing of it is stored any more; `stage` is the one that it had",
        ChangeData,
        Stage.FINAL,
    ),
    *(
        _type(f"recording.{state}", when, RecordingData, Stage.RECONCILED, recordingId="3019664700")
        for state, when in (
            ("announced", "an event named a recording"),
            ("pending", "a record names it, but it cannot be played yet"),
            ("ready", "it can be played"),
            ("expired", "RingCentral does not have it any more"),
            ("none", "it never became ready"),
        )
    ),
    *(
        _type(f"voicemail.{state}", when, VoicemailData, Stage.RECONCILED, voicemailId="1504832006")
        for state, when in (
            ("pending", "a record names a voicemail, but it cannot be played yet"),
            ("ready", "it can be played"),
            ("expired", "RingCentral does not have it any more"),
            ("none", "it never became ready"),
            ("refused", "the credentials may not read it"),
        )
    ),
    *(
        _type(
            f"insights.{state}",
            when,
            InsightsData,
            Stage.FINAL,
            recordingId="3019664700",
            lastModifiedTime=_END_EXAMPLE,
        )
        for state, when in (
            ("ready", "the first insights of the call are there"),
            ("updated", "further or changed insights are there"),
        )
    ),
    _written("note", "created", "a note was attached, or a parked one joined its call", NoteData, **_NOTE),
    _written("note", "updated", "a note was changed", NoteData, **_NOTE),
    _written("note", "deleted", "a note was deleted", NoteData, **_NOTE),
    _written("sentiment", "set", "a sentiment was set or changed", SentimentData, **_MOOD),
    _written("sentiment", "deleted", "a sentiment was deleted", SentimentData, **_MOOD),
    _written("disposition", "set", "the disposition was set or changed", DispositionData, code="sold"),
    _written("disposition", "deleted", "the disposition was deleted", DispositionData, code="sold"),
    _written("link", "set", "a link to a CRM was set or changed", LinkData, crm="hubspot"),
    _written("link", "deleted", "a link to a CRM was deleted", LinkData, crm="hubspot"),
)
