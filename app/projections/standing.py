"""Why a call should not be written into a CRM now, or at all. Pure.

The rules are those of `GET /v1/calls?unlinkedCrm=…` (app/calls/listing/crm.py), for one call as the API shows
it; a test compares the two.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from app.calls.model import NO_CALLS, SIDE_ACTIONS, Stage

Json = Mapping[str, Any]


class ReasonCode(StrEnum):
    """Why a projection is not safe to create."""

    NOT_OVER = "not-over"
    NOT_A_CALL = "not-a-call"
    FAX = "fax"
    INTERNAL = "internal"
    NOT_MAIN = "not-main"
    CONFERENCE = "conference"
    ALREADY_WRITTEN = "already-written"
    FIELD_MISSING = "field-missing"


def linked_objects(call: Json, crm: str) -> list[Any]:
    """Return the objects that the call has been written to, by its links of this name."""
    return [item for link in _links(call, crm) for item in link["objects"]]


def _links(call: Json, crm: str) -> list[Any]:
    return [link for link in call["links"] if link["crm"].casefold() == crm.casefold()]


def objections(call: Json, crm: str) -> Iterator[tuple[ReasonCode, str]]:
    """Return each reason that does not depend on the fields of an object. `crm`: the name of its links."""
    if call["stage"] == Stage.LIVE:
        yield ReasonCode.NOT_OVER, "The call is not over yet"
    if call["absentReason"] in NO_CALLS:
        yield ReasonCode.NOT_A_CALL, f"This is not a call: {call['absentReason']}"
    if call["type"] == "fax":
        yield ReasonCode.FAX, "This is a fax"
    if call["internal"]:
        yield ReasonCode.INTERNAL, "Everybody in the call belongs to the company"
    conversation = call["conversation"]
    if not conversation["isMain"]:
        main = conversation["mainCallId"]
        yield ReasonCode.NOT_MAIN, f"The call belongs to another one: write {main} instead"
    if _is_side_of_conference(call):
        yield ReasonCode.CONFERENCE, "A conference has no customer's number: its calls that have one count"
    if _links(call, crm):
        yield ReasonCode.ALREADY_WRITTEN, f"The call has been written to {crm}: see `objects`"


def _is_side_of_conference(call: Json) -> bool:
    if call["externalNumber"] is not None:
        return False
    dialled = (call["to"] or {}).get("phoneNumber")
    is_room = isinstance(dialled, str) and dialled.lower() == "conference"
    return is_room or (call["action"] or "").lower() in SIDE_ACTIONS
