"""Conversation insights of one recording. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.ids import TelephonySessionId, as_text
from app.ringcentral.models.fields import as_object, optional, read_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """The insights of one recording; `raw` holds them.

    For a phone call, `session_id` is the `telephonySessionId` and `recording_id` the recording's id. At least
    one of the two is set.
    """

    session_id: TelephonySessionId | None = None
    recording_id: str | None = None
    last_modified_time: datetime | None = None
    raw: Mapping[str, Any]


def read_insights(value: Any) -> Insights | None:
    """Read the insights of one recording; None if they name neither a session nor a recording."""
    fields = as_object(value)
    session_id = optional(TelephonySessionId, as_text(fields.get("sourceSessionId")))
    recording_id = as_text(fields.get("sourceRecordId"))
    if session_id is None and recording_id is None:
        return None
    return Insights(
        session_id=session_id,
        recording_id=recording_id,
        last_modified_time=read_time(fields.get("lastModifiedTime")),
        raw=fields,
    )
