"""The route that reads a conversation."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response

from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.etags import etag_of_body, is_known
from app.api.problems import problem_responses
from app.calls import store
from app.calls.conversations.schemas import ConversationOut
from app.calls.conversations.view import load_conversation, load_conversation_of
from app.calls.lifetime.tombstones import check_not_erased
from app.calls.names import NAME_PATTERN
from app.errors import NotFound
from app.values.exact_json import write_json

router = APIRouter(prefix="/v1", tags=["calls"])

_PREFIX = "conv_"

ConversationName = Annotated[
    str,
    Path(
        max_length=160,
        pattern=NAME_PATTERN,
        description="A `conversationId`, or any name of one of its calls.",
        examples=["conv_5d0f7a3e9b1c4d6f8a2e0c4b"],
    ),
]
_AN_ETAG: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "ETag": {
                "description": "The last change of its calls and a digest of the content, "
                '`"v4711-9f8e7d6c5b4a"`.',
                "schema": {"type": "string"},
            }
        }
    },
    304: {"description": "You have the current version."},
}


@router.get(
    "/conversations/{conversation}",
    response_model=ConversationOut,
    summary="Get a conversation",
    responses=_AN_ETAG | problem_responses(404, 409, 410),
)
async def get_conversation(
    services: CurrentServices,
    key: CallsReader,
    conversation: ConversationName,
    if_none_match: Annotated[
        str | None, Header(description="The ETags that you have.", examples=['"v4711-9f8e7d6c5b4a"'])
    ] = None,
) -> Response:
    """The calls that belong together, the main call first: transfers, conferences, RingOut, pick-ups. A call
    without related calls is a conversation of its own, without an id."""
    async with services.database.read() as db:
        if conversation.startswith(_PREFIX):
            found = await load_conversation(db, key.account_id, conversation)
        else:
            call_id = await store.find_id(db, key.account_id, conversation)
            if call_id is None:
                await check_not_erased(db, key.account_id, conversation)
            found = None if call_id is None else await load_conversation_of(db, key.account_id, call_id)
    if found is None:
        what = "conversation" if conversation.startswith(_PREFIX) else "call"
        hint = " It changes when another related call is found." if what == "conversation" else ""
        raise NotFound(f"No {what} is known as {conversation}.{hint}")
    shown, changed = found
    body = write_json(shown)
    headers = {"ETag": etag_of_body(changed, body), "Cache-Control": "private, no-cache"}
    if is_known(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JsonResponse.media_type)
