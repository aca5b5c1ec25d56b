"""Responses about earlier versions of calls, as models: they make the API description."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from app.api.schemas import ApiModel
from app.calls.model import Outcome, Stage

_EXAMPLE: dict[str, Any] = {
    "version": 3,
    "at": "2026-03-10T18:09:22.951Z",
    "type": "call.bootstrapped",
    "keyId": None,
    "fields": None,
    "stage": "bootstrapped",
    "direction": "Inbound",
    "outcome": "answered",
    "endTime": "2026-03-10T18:09:16.752Z",
    "primaryRecordId": None,
    "conversationId": None,
    "mainCallId": None,
    "related": None,
    "disposition": None,
    "recordings": {"3019664700": "pending"},
    "voicemails": {},
    "sentiments": {},
    "insights": [],
    "notes": ["note_01jp0v7s4v8x2m6c9q3t5r7w1f"],
    "crms": [],
}


class CallVersion(ApiModel):
    """A call after one of its changes, by what this change and those before it tell."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    version: int
    at: datetime = Field(description="When the call became this version.")
    type: str = Field(description="The type of the change.", examples=["call.bootstrapped"])
    key_id: str | None = Field(description="The API key that made the change, if one did.")
    fields: list[str] | None = Field(description="The fields that changed, where the change says so.")
    stage: Stage | None
    direction: str | None
    outcome: Outcome | None = Field(description="As the last change that told it; as are the next five.")
    end_time: datetime | None
    primary_record_id: str | None
    conversation_id: str | None
    main_call_id: str | None
    related: list[dict[str, Any]] | None
    disposition: str | None = Field(description="The code.")
    recordings: dict[str, str] = Field(description="The state of each recording that a change named.")
    voicemails: dict[str, str] = Field(description="The same of voicemails.")
    sentiments: dict[str, str | None] = Field(description="The label of each source.")
    insights: list[str] = Field(description="The recordings that had insights.")
    notes: list[str] = Field(description="The ids of its notes.")
    crms: list[str] = Field(description="The CRMs that it was linked to.")


class CallVersions(ApiModel):
    """Versions of a call, oldest first."""

    data: list[CallVersion]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last page.")
    current_version: int
    oldest_version: int | None = Field(
        description="The oldest one whose change is kept. If it is above 1, what changes before it told is "
        "not part of any version. Null if no change is kept."
    )
