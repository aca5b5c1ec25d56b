"""Responses about changes of calls."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.api.schemas import ApiModel
from app.calls.attachments.schemas import CALL_ID_EXAMPLE


class Event(ApiModel):
    """One visible change of a call."""

    seq: int = Field(
        description="The number of the change in the account's timeline: without gaps, in commit order."
    )
    type: str = Field(examples=["call.bootstrapped"])
    version: int = Field(description="The version of the call after the change.")
    at: datetime
    data: dict[str, Any]


class Timeline(ApiModel):
    """The changes of one call, oldest first."""

    data: list[Event]
    next_cursor: str | None


class Change(Event):
    """One visible change of any call of the account."""

    cursor: str = Field(description="Continues after this change.", examples=["4711-9f8e7d6c5b4a"])
    call_id: str = Field(examples=[CALL_ID_EXAMPLE])
    session_id: str | None
    telephony_session_id: str | None


class Changes(ApiModel):
    """Changes in order. `nextCursor` continues after them, even if there were none."""

    data: list[Change]
    next_cursor: str
    has_more: bool = Field(description="Whether more changes are available now.")
