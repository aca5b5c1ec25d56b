"""Responses about projections, as models: they make the API description."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.api.schemas import ApiModel
from app.calls.attachments.schemas import CALL_ID_EXAMPLE
from app.projections.inputs import WarningCode
from app.projections.mappings.model import Crm
from app.projections.standing import ReasonCode

_EXAMPLE: dict[str, Any] = {
    "crm": "hubspot",
    "object": "call",
    "apiVersion": "2026-09",
    "callId": CALL_ID_EXAMPLE,
    "callVersion": 4,
    "mayChange": True,
    "safeToCreate": True,
    "reasons": [],
    "warnings": [
        {
            "code": "owner-unknown",
            "field": "hubspot_owner_id",
            "detail": "Owner unknown: extension 104 has no e-mail",
        }
    ],
    "externalId": {
        "field": "hs_call_external_id",
        "value": CALL_ID_EXAMPLE,
        "remark": "Not unique in HubSpot: search for it before you create the call again.",
    },
    "hash": "5f0a3c1d9b7e42a86c1f0d5e8b3a7c94",
    "request": {
        "method": "POST",
        "path": "/crm/objects/2026-09/calls",
        "body": {
            "properties": {
                "hs_timestamp": "2026-03-10T18:07:41.012Z",
                "hs_call_title": "Call from Dana Field",
                "hs_call_body": "<p>Inbound call: answered</p>",
                "hs_call_direction": "INBOUND",
                "hs_call_status": "COMPLETED",
                "hs_call_duration": "96000",
                "hs_call_from_number": "+15550179001",
                "hs_call_to_number": "+15550100101",
                "hs_call_external_id": CALL_ID_EXAMPLE,
            }
        },
    },
    "followUps": [],
    "lookups": [
        {"field": "hubspot_owner_id", "what": "owner", "by": "email", "value": None},
        {"field": "associations", "what": "contact", "by": "phoneNumber", "value": "+15550179001"},
    ],
    "objects": [],
    "sources": ["https://developers.hubspot.com/docs/api/crm/calls"],
}


class ProjectionReason(ApiModel):
    """Why the call should not be written, or not yet."""

    code: ReasonCode
    field: str | None = Field(description="The required field that has no value.", examples=["to_line"])
    detail: str = Field(description="The same in words.")


class ProjectionWarning(ApiModel):
    """What is doubtful about the payload, or left out of it."""

    code: WarningCode
    field: str | None = Field(description="The field that it is about, if it is about one.")
    detail: str = Field(description="The same in words.", examples=["Duration rounded to minutes"])


class ExternalId(ApiModel):
    """What the CRM is to keep as the id of the call in another system."""

    field: str | None = Field(description="The CRM's field for it; null if the object has none.")
    value: str = Field(description="Never changes.", examples=[CALL_ID_EXAMPLE])
    remark: str = Field(description="How the CRM uses it: whether it is unique, and how to search for it.")


class CrmRequest(ApiModel):
    """A request to send to the CRM."""

    method: Literal["POST", "PATCH"] | None = Field(description="Null for `generic`.")
    path: str | None = Field(description="Below the address of the CRM's API. Null for `generic`.")
    body: dict[str, Any] = Field(description="The body to send. No field in it is null.")


class Lookup(ApiModel):
    """A field that takes an id of the CRM's own: find it, and add it to the body."""

    field: str = Field(examples=["hubspot_owner_id"])
    what: Literal["owner", "contact"] = Field(description="Whose id the field takes.")
    by: Literal["email", "phoneNumber"] = Field(description="What to search for.")
    value: str | None = Field(description="The e-mail or the number; null if it is unknown.")


class ProjectionOut(ApiModel):
    """A call as a CRM wants it."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    crm: Crm
    object: str = Field(description="The kind of object.")
    api_version: str | None = Field(description="The version in the path; null if it has none.")
    call_id: str
    call_version: int = Field(description="The version of the call that was projected.")
    may_change: bool = Field(description="Whether the call may still change without anybody's doing.")
    safe_to_create: bool = Field(description="Whether the object can be created now. If not, see `reasons`.")
    reasons: list[ProjectionReason] = Field(description="Empty if it is safe to create.")
    warnings: list[ProjectionWarning]
    external_id: ExternalId
    hash: str = Field(
        description="Changes only if the CRM would show something else: store it, and update the object when "
        "it differs. Not affected by versions, times of reading, or links."
    )
    request: CrmRequest
    follow_ups: list[CrmRequest] = Field(description="Requests to send after the first one.")
    lookups: list[Lookup]
    objects: list[dict[str, Any]] = Field(
        description="The CRM's objects that the call is linked to. If there are any, it has been written."
    )
    sources: list[str] = Field(description="The CRM's pages that the mapping follows.")
