"""The route that attaches many things with one request."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import Response

from app.api.auth import NotesWriter
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.problems import ProblemCode, problem_body, problem_responses
from app.calls.attachments.batch.inputs import AttachmentsIn, InvalidItem, ReadItem, read_item
from app.calls.attachments.batch.memory import find_items, save_items
from app.calls.attachments.batch.schemas import AttachedItems, shown_item
from app.calls.attachments.batch.writing import ItemResult, Unread, write_items
from app.calls.attachments.idempotency import MAX_KEY, request_digest
from app.calls.attachments.subjects import open_account
from app.errors import CallerError

router = APIRouter(prefix="/v1/attachments", tags=["notes and sentiment"])

_PATH = "/v1/attachments"

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY,
        pattern="^[ -~\xa1-\xff]+$",
        description="A unique value for this batch. Sending the same request with the same key returns the "
        "first response and writes nothing.",
        examples=["0c8fd1c2-5a43-4f0e-9b8e-6f1f1f5a2f10"],
    ),
]


@router.post(
    "",
    response_model=AttachedItems,
    summary="Attach many things to any calls",
    responses=problem_responses(400),
)
async def attach_many(
    key: NotesWriter,
    services: CurrentServices,
    body: AttachmentsIn,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Up to 200 notes, sentiments, dispositions and links, each to a call by any of its names, known or not.

    The response is 200 if the body could be read; each item has a status of its own, and a problem if it
    failed. The items that did not fail are written in one transaction. Sentiments, dispositions, links and
    notes with an `externalId` can be repeated as they are; for other notes, send an `Idempotency-Key`.
    """
    raw: Sequence[Any] = body.items
    digest = request_digest("POST attachments", raw)
    # Outside the transaction: reading long markup takes a while.
    items = [await _read(index, one) for index, one in enumerate(raw)]
    async with (
        services.database.write() as db,
        open_account(db, key.owner, services.clock.now(), key.key_id) as ledger,
    ):
        known = idempotency_key and await find_items(ledger, key.key_id, idempotency_key, digest)
        if known:
            return _respond(known, {"Idempotency-Replayed": "true"})
        results = await write_items(ledger, items)
        shown = [_show(index, one) for index, one in enumerate(results)]
        if idempotency_key is not None:
            await save_items(ledger, key.key_id, idempotency_key, digest, shown)
    return _respond(shown)


async def _read(index: int, raw: Any) -> ReadItem | Unread:
    try:
        return await read_item(index, raw)
    except (InvalidItem, CallerError) as error:
        return error


def _show(index: int, result: ItemResult | Unread) -> dict[str, Any]:
    match result:
        case InvalidItem(errors):
            detail = "; ".join(f"{one['pointer']}: {one['detail']}" for one in errors[:3])
            problem = problem_body(_PATH, ProblemCode.INVALID_REQUEST, detail, extra={"errors": list(errors)})
            return shown_item(index, status=problem["status"], problem=problem)
        case CallerError():
            problem = problem_body(_PATH, result.kind, result.detail, extra=result.extra)
            return shown_item(index, status=problem["status"], problem=problem)
    attachment, counts = result.written.attachment, result.overruled_by
    body = attachment.to_json()
    return shown_item(
        index,
        status=result.written.status,
        kind=result.kind,
        effect=result.written.effect.value,
        id=body.get("id"),
        callId=body["callId"],
        sessionRef=body["sessionRef"],
        version=attachment.version,
        etag=attachment.etag,
        overruledBy=counts and {name: counts[name] for name in ("source", "label")},
    )


def _respond(items: Sequence[dict[str, Any]], headers: dict[str, str] | None = None) -> Response:
    failed = sum(one["problem"] is not None for one in items)
    return JsonResponse({"data": items, "failed": failed}, 200, headers)
