"""The response to a request that attaches many things."""

from typing import Any, Literal

from pydantic import Field

from app.api.problems.responses import Problem
from app.api.schemas import ApiModel
from app.calls.attachments.schemas import CALL_ID_EXAMPLE, Overruling
from app.calls.attachments.store import Effect


class AttachedItem(ApiModel):
    """What became of one item. A failed one has a `problem`, and nothing of it was written."""

    index: int = Field(description="The place of the item in the request, from 0.", examples=[0])
    status: int = Field(
        description="201 attached, 200 it existed, 202 it waits for its call; otherwise that of the problem.",
        examples=[201],
    )
    kind: Literal["note", "sentiment", "disposition", "link"] | None = Field(
        None, description="Null if the item could not be read.", examples=["note"]
    )
    effect: Effect | None = Field(None, description="`unchanged`: nothing was written.", examples=["created"])
    id: str | None = Field(None, description="Of a note.", examples=["note_01jp0v9g2k4m6p8r0t2w4y6a8c"])
    call_id: str | None = Field(None, description="Null while parked.", examples=[CALL_ID_EXAMPLE])
    session_ref: str | None = Field(
        None, description="The name under which it waits for its call.", examples=[None]
    )
    version: int | None = Field(None, examples=[1])
    etag: str | None = Field(None, description="For `If-Match`.", examples=['"v1-9f8e7d6c5b4a"'])
    overruled_by: Overruling | None = Field(
        None, description="Only for a machine's sentiment: the person's that counts for the call instead."
    )
    problem: Problem | None = None


class AttachedItems(ApiModel):
    """One item per item of the request, in its order."""

    data: list[AttachedItem]
    failed: int = Field(description="How many items have a problem.", examples=[0])


_UNKNOWN = dict.fromkeys(field.alias or name for name, field in AttachedItem.model_fields.items())


def shown_item(index: int, **known: Any) -> dict[str, Any]:
    """Return an item of the response as JSON, with null for what is not known."""
    return {**_UNKNOWN, "index": index, **known}
