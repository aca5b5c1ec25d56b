"""Responses about conversations, as models: they make the API description."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from app.api.schemas import ApiModel
from app.calls.model import Outcome, Stage
from app.calls.schemas import Side

_DANA, _ANA, _BEN = (
    {"phoneNumber": "+15550179001", "name": "Dana Field"},
    {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"},
    {"extensionNumber": "102", "name": "Ben Cho", "extensionId": "711000102"},
)
_CUSTOMER, _CONSULTATION = "call_01jp0v7s4v8x2m6c9q3t5r7w1e", "call_01jp0v8c1n5r9t3w7y2b4d6f8h"
_EXAMPLE: dict[str, Any] = {
    "id": "conv_5d0f7a3e9b1c4d6f8a2e0c4b",
    "mainCallId": _CUSTOMER,
    "direction": "Inbound",
    "internal": False,
    "externalNumber": "+15550179001",
    "outcome": "answered",
    "startTime": "2026-03-10T18:07:41.012Z",
    "endTime": "2026-03-10T18:12:02.400Z",
    "talkSeconds": 229.5,
    "callCount": 2,
    "calls": [
        {
            "id": _CUSTOMER,
            "isMain": True,
            "telephonySessionId": "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000",
            "sessionId": "1229016182016",
            "stage": "final",
            "direction": "Inbound",
            "internal": False,
            "outcome": "answered",
            "from": _DANA,
            "to": _ANA,
            "externalNumber": "+15550179001",
            "startTime": "2026-03-10T18:07:41.012Z",
            "answerTime": "2026-03-10T18:07:44.300Z",
            "endTime": "2026-03-10T18:09:17.120Z",
            "talkSeconds": 64.8,
            "noteCount": 1,
            "linkCount": 1,
        },
        {
            "id": _CONSULTATION,
            "isMain": False,
            "telephonySessionId": "s-a0c14f2b77d1ez1928b3f4d22z5e6f80000",
            "sessionId": "1229016184016",
            "stage": "final",
            "direction": "Outbound",
            "internal": True,
            "outcome": "answered",
            "from": _ANA,
            "to": _BEN,
            "externalNumber": None,
            "startTime": "2026-03-10T18:08:49.200Z",
            "answerTime": "2026-03-10T18:08:53.700Z",
            "endTime": "2026-03-10T18:12:02.400Z",
            "talkSeconds": 164.7,
            "noteCount": 0,
            "linkCount": 0,
        },
    ],
    "related": [
        {
            "kind": "attendedTransfer",
            "callId": _CUSTOMER,
            "otherCallId": _CONSULTATION,
            "otherTelephonySessionId": "s-a0c14f2b77d1ez1928b3f4d22z5e6f80000",
        }
    ],
    "people": [
        {"extensionId": "711000101", "extensionNumber": None, "name": "Ana Ruiz"},
        {"extensionId": "711000102", "extensionNumber": "102", "name": "Ben Cho"},
    ],
    "numbers": ["+15550100101", "+15550179001"],
    "noteCount": 1,
    "linkCount": 1,
}


class ConversationCall(ApiModel):
    """A call of a conversation, in short. `GET /v1/calls/{call}` has the whole."""

    id: str
    is_main: bool = Field(description="Whether it is the main call, the one to write into a CRM.")
    telephony_session_id: str | None
    session_id: str | None
    stage: Stage
    direction: str | None
    internal: bool | None
    outcome: Outcome
    from_: Side | None = Field(alias="from")
    to: Side | None
    external_number: str | None
    start_time: datetime
    answer_time: datetime | None
    end_time: datetime | None
    talk_seconds: float | None
    note_count: int = Field(description="The number of its notes.")
    link_count: int = Field(description="The number of CRMs that it was written to.")


class ConversationLink(ApiModel):
    """How two calls of a conversation are related. Each pair is listed once for each kind."""

    kind: str = Field(description="The same words as in `related` of a call.", examples=["attendedTransfer"])
    call_id: str = Field(description="The call that comes first in `calls`.")
    other_call_id: str | None = Field(description="The other call; null while it is unknown.")
    other_telephony_session_id: str | None = Field(description="RingCentral's id of the other session.")


class ConversationPerson(ApiModel):
    """An extension that took part in any of the calls."""

    extension_id: str
    extension_number: str | None
    name: str | None


class ConversationOut(ApiModel):
    """The calls that belong together."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: str | None = Field(
        description="The `conversationId` of its calls; null for a call without related calls."
    )
    main_call_id: str = Field(
        description="The call to write into a CRM. It may change until all calls are final."
    )
    direction: str | None = Field(description="Of the main call, as are the next two fields.")
    internal: bool | None
    external_number: str | None
    outcome: Outcome = Field(
        description="inProgress while any call goes on; answered if somebody picked up the main call "
        "elsewhere; otherwise the outcome of the main call."
    )
    start_time: datetime = Field(description="The start of the first call.")
    end_time: datetime | None = Field(description="The end of the last call; null while any goes on.")
    talk_seconds: float | None = Field(
        description="The talk time of all calls together, without sessions that only serve another one: "
        "a supervisor's, and the first telephone of a RingOut. Null while none is known."
    )
    call_count: int = Field(description="The number of its calls.")
    calls: list[ConversationCall] = Field(
        description="The main call, then the others in the order of their starts; 200 at most."
    )
    related: list[ConversationLink]
    people: list[ConversationPerson] = Field(description="In the order of their ids.")
    numbers: list[str] = Field(description="The phone numbers that took part, in order.")
    note_count: int = Field(description="The number of notes of the listed calls.")
    link_count: int = Field(description="The number of links to CRMs of the listed calls.")
