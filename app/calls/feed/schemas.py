"""Responses about changes of calls."""

from datetime import datetime
from typing import Annotated, Any, Literal, Union

from pydantic import Field, create_model

from app.api.schemas import ApiModel, Page
from app.calls.attachments.schemas import CALL_ID_EXAMPLE
from app.calls.feed.catalogue import CHANGE_TYPES, ChangeType


class Event(ApiModel):
    """One visible change of a call."""

    seq: int = Field(
        description="The number of the change in the account's timeline, in commit order. Without gaps, "
        "except where calls were erased."
    )
    type: str = Field(examples=["call.bootstrapped"])
    version: int = Field(description="The version of the call after the change.")
    at: datetime
    data: dict[str, Any]


class Timeline(Page[Event]):
    """The changes of one call, oldest first."""


class Change(Event):
    """One visible change of any call of the account."""

    cursor: str = Field(description="Continues after this change.", examples=["4711-9f8e7d6c5b4a"])
    call_id: str = Field(examples=[CALL_ID_EXAMPLE])
    session_id: str | None
    telephony_session_id: str | None


def _model_of(one: ChangeType) -> type[Change]:
    """Return the model of one type of change."""
    name = one.name.title().replace(".", "") + "Change"
    fields: Any = {"type": (Literal[one.name], ...), "data": (one.data, Field(examples=[one.example]))}
    return create_model(name, __base__=Change, __doc__=f"When: {one.when}.", **fields)


CHANGE_MODELS = {one.name: _model_of(one) for one in CHANGE_TYPES}
"""The model of each type of change."""

_OF_ANY_TYPE: Any = Annotated[Union[*CHANGE_MODELS.values()], Field(discriminator="type")]


class Changes(Page[_OF_ANY_TYPE]):
    """Changes in order. `nextCursor` continues after them, even if there were none."""

    next_cursor: str = Field(description="The `cursor` of the next request; never null.")
    has_more: bool = Field(description="Whether more changes are available now.")
