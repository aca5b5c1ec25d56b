"""Query parameters of the feed and of requests that wait."""

from typing import Annotated

from fastapi import Query

LONGEST_CURSOR = 32
LONGEST_WAIT_SECONDS = 60
DEFAULT_LIMIT = 100
MOST_CHANGES = 500

Wait = Annotated[
    float | None,
    Query(
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="The number of seconds to wait at most. Without it, the response is immediate.",
        examples=[20],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MOST_CHANGES, description="The maximum number of items.")]
FeedCursor = Annotated[
    str | None,
    Query(
        max_length=LONGEST_CURSOR,
        description="`nextCursor`, or the `cursor` of the last change that you read. Without it, the feed "
        "starts from the beginning; with `now`, from its current end.",
        examples=["4711-9f8e7d6c5b4a", "now"],
    ),
]
