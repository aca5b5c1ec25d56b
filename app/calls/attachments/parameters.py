"""Path parameters and headers of the routes for attachments."""

from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request

from app.calls.attachments.fields import SOURCE_PATTERN
from app.calls.attachments.idempotency import MAX_KEY
from app.calls.attachments.preconditions import Precondition
from app.calls.attachments.rules.sentiments import Maker
from app.ids import NoteId

NoteIdPath = Annotated[
    NoteId, Path(alias="noteId", pattern="^note_[0-9a-z]{26}$", examples=["note_01kdv6x3q8m7a2c5e9r4t1y6wz"])
]
SourcePath = Annotated[
    str,
    Path(
        max_length=64,
        pattern=SOURCE_PATTERN,
        description="The source of the sentiment. A call has one sentiment per source.",
        examples=["ringsense"],
    ),
]
MadeBy = Annotated[
    Maker | None,
    Query(alias="madeBy", description="Whose of the two sentiments that a source can have."),
]
CrmPath = Annotated[str, Path(max_length=64, pattern=SOURCE_PATTERN, examples=["hubspot"])]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description='The ETag that you read, `"v3-9f8e7d6c5b4a"`. If it is not current, the response is 412. '
        '`"v3"` alone matches that version with any content.',
        examples=['"v3-9f8e7d6c5b4a"', '"v3"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="To write, `*`: only if nothing exists yet. To read, an ETag: only if it has changed.",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY,
        pattern="^[ -~\xa1-\xff]+$",
        description="A unique value for this note. Sending the same request with the same key returns the "
        "first response and creates no second note.",
        examples=["5e0c0f6e-5a5f-4f0a-8d0a-0b3f1c2d9e77"],
    ),
]


async def read_precondition(
    request: Request, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
) -> Precondition:
    """Read both headers, each of which may have several lines. The parameters only describe them."""
    headers = request.headers
    return Precondition.read(headers.getlist("if-match"), headers.getlist("if-none-match"))


State = Annotated[Precondition, Depends(read_precondition)]
