"""The routes that attach notes, sentiments, a disposition and CRM links to a call.

`{call}` is any name of a call, known or not: what is attached before the call exists waits for it (202) and
keeps its URL. The response is sent after the commit.

Every response about one attachment has an ETag, its version and a digest of its content
(`"v3-9f8e7d6c5b4a"`), with `-parked` at its end while it is parked. `If-Match` is optional: a connector that
owns a source need not read before it writes.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from app.api.auth import CallsReader, Key, NotesWriter
from app.api.dependencies import CurrentServices, JsonResponse, Services
from app.api.etags import is_known
from app.api.problems import problem_responses
from app.api.schemas import ApiModel
from app.calls.attachments import sentiments, store
from app.calls.attachments.idempotency import StoredResponse, find_response, request_digest, save_response
from app.calls.attachments.inputs import DispositionIn, LinkIn, NoteIn, NotePatch, SentimentIn, stored_note
from app.calls.attachments.parameters import (
    CrmPath,
    IdempotencyKey,
    IfNoneMatch,
    MadeBy,
    NoteIdPath,
    SourcePath,
    State,
)
from app.calls.attachments.schemas import (
    DispositionOut,
    LinkList,
    LinkOut,
    NoteList,
    NoteOut,
    ParkedDisposition,
    ParkedLink,
    ParkedNote,
    ParkedSentiment,
    SentimentList,
    SentimentOut,
    WrittenSentiment,
)
from app.calls.attachments.store import Effect, WriteResult
from app.calls.attachments.stored import DISPOSITION, LINK, NOTE, SENTIMENT, AttachmentKind, StoredAttachment
from app.calls.attachments.subjects import load_subject, open_account
from app.calls.ledger import Ledger
from app.calls.names import AttachableName

router = APIRouter(prefix="/v1/calls/{call}", tags=["notes and sentiment"])

EFFECT = "Attachment-Effect"
_EFFECT = {
    "description": "What the request did. `unchanged`: it said what is stored already, so nothing was "
    "written and no change was announced.",
    "schema": {"type": "string", "enum": [effect.value for effect in Effect]},
}

Responses = dict[int | str, dict[str, Any]]
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _etag_header(example: str) -> dict[str, Any]:
    return {"ETag": {"description": "For `If-Match`.", "schema": {"type": "string", "example": example}}}


def _writing(
    model: type[ApiModel], parked: type[ApiModel], more: Mapping[str, Any] | None = None
) -> Responses:
    """Describe the responses of a route that writes. `more`: its further headers."""
    more = {EFFECT: _EFFECT, **(more or {})}
    attached = _etag_header('"v1-9f8e7d6c5b4a"') | more
    waiting = _etag_header('"v1-9f8e7d6c5b4a-parked"') | more
    return {
        200: {"description": "It existed; this is its new state.", "headers": attached, "model": model},
        201: {"description": "Attached to the call.", "headers": attached, "model": model},
        202: {
            "description": "Parked under the name; it joins the call when the call becomes known.",
            "headers": waiting,
            "model": parked,
        },
    }


_LOCATION = {"Location": {"description": "The URL of the note.", "schema": {"type": "string"}}}
_SHOWN: Responses = {
    200: {"description": "The current state.", "headers": _etag_header('"v1-9f8e7d6c5b4a"')},
    304: {"description": "You have the current version."},
}
_CHANGED: Responses = {
    200: {
        "description": "The new state.",
        "headers": _etag_header('"v2-9f8e7d6c5b4a"') | {EFFECT: _EFFECT},
    }
}


def _get(path: str, model: type[ApiModel], summary: str) -> Decorator:
    responses = _SHOWN | problem_responses(404, 409, 410)
    return router.get(path, response_model=model, summary=summary, responses=responses)


def _list(path: str, model: type[ApiModel], summary: str) -> Decorator:
    return router.get(path, response_model=model, summary=summary, responses=problem_responses(404, 409, 410))


def _put(path: str, model: type[ApiModel], parked: type[ApiModel], summary: str) -> Decorator:
    responses = _writing(model, parked) | problem_responses(400, 404, 409, 410, 412)
    return router.put(path, response_model=model, summary=summary, responses=responses)


def _delete(path: str, summary: str, *statuses: int) -> Decorator:
    responses = problem_responses(410, *statuses)
    return router.delete(path, status_code=204, response_class=Response, summary=summary, responses=responses)


@dataclass(frozen=True, slots=True)
class Reading:
    """A request that reads attachments."""

    services: Services
    key: Key

    async def one(self, kind: AttachmentKind, call: str, if_none_match: str | None, **slot: str) -> Response:
        async with self.services.database.read() as db:
            attachment = await store.load_one(db, self.key.account_id, kind, call, slot)
        return _read(call, attachment, if_none_match)

    async def all(self, kind: AttachmentKind, call: str) -> Response:
        async with self.services.database.read() as db:
            found = await store.find_all(db, self.key.account_id, kind, call)
        return JsonResponse({"data": [_show(call, attachment) for attachment in found], "nextCursor": None})


@dataclass(frozen=True, slots=True)
class Writing:
    """A request that changes attachments, if they are in the state that it expects."""

    services: Services
    key: Key
    state: State

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[Ledger]:
        now = self.services.clock.now()
        async with (
            self.services.database.write() as db,
            open_account(db, self.key.owner, now, self.key.key_id) as ledger,
        ):
            yield ledger

    async def put(self, kind: AttachmentKind, call: str, content: Mapping[str, Any], **slot: str) -> Response:
        async with self.ledger() as ledger:
            written = await store.put(ledger, kind, call, slot, content, self.state)
        return _send(_response_to_write(call, written))

    async def remove(self, kind: AttachmentKind, call: str, **slot: str) -> Response:
        async with self.ledger() as ledger:
            await store.remove(ledger, kind, call, slot, self.state)
        return Response(status_code=204)


async def reading(services: CurrentServices, key: CallsReader) -> Reading:
    return Reading(services, key)


async def writing(services: CurrentServices, key: NotesWriter, state: State) -> Writing:
    return Writing(services, key, state)


Reads = Annotated[Reading, Depends(reading)]
Writes = Annotated[Writing, Depends(writing)]


# Notes


@router.post(
    "/notes",
    status_code=201,
    response_model=NoteOut,
    summary="Attach a note",
    responses=_writing(NoteOut, ParkedNote, _LOCATION) | problem_responses(400, 404, 409, 410),
)
async def add_note(
    call: AttachableName,
    note: NoteIn,
    key: NotesWriter,
    services: CurrentServices,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Attach a note to a call, known or not.

    A note with an `externalId` is identified by `source` and `externalId`. If it is sent again, it is the
    same note and takes the new content (200). An `Idempotency-Key` makes any request safe to repeat.
    """
    digest = request_digest("POST notes", call, note.columns())
    columns = await stored_note(note)
    async with (
        services.database.write() as db,
        open_account(db, key.owner, services.clock.now(), key.key_id) as ledger,
    ):
        # Under the account's lock: of two concurrent requests, the second finds the response of the first.
        found = None
        if idempotency_key is not None:
            found = await find_response(ledger, key.key_id, idempotency_key, digest)
        if found is not None:
            return _send(found, {"Idempotency-Replayed": "true"})
        written = await store.add_note(ledger, call, columns)
        location = f"/v1/calls/{quote(call, safe='')}/notes/{written.attachment.columns['note_id']}"
        response = _response_to_write(call, written, {"Location": location})
        if idempotency_key is not None:
            await save_response(ledger, key.key_id, idempotency_key, digest, response)
    return _send(response)


@_list("/notes", NoteList, "List the notes of a call")
async def list_notes(call: AttachableName, reads: Reads) -> Response:
    """Oldest first. For a call that is not known yet, the notes that are parked for it."""
    return await reads.all(NOTE, call)


@router.get(
    "/notes/{noteId}",
    response_model=NoteOut,
    summary="Get a note",
    responses=_SHOWN | problem_responses(404, 410),
)
async def get_note(
    call: AttachableName,
    note_id: NoteIdPath,
    reads: Reads,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A note keeps its URL when its call becomes known, even if the name then matches several calls."""
    async with reads.services.database.read() as db:
        note = await store.load_note(db, reads.key.account_id, call, note_id)
    return _read(call, note, if_none_match)


@router.patch(
    "/notes/{noteId}",
    response_model=NoteOut,
    summary="Change a note",
    responses=_CHANGED | problem_responses(400, 404, 410, 412),
)
async def update_note(
    call: AttachableName, note_id: NoteIdPath, patch: NotePatch, writes: Writes
) -> Response:
    """Change only the fields that are sent (RFC 7396). A request that changes nothing keeps the version."""
    async with writes.ledger() as ledger:
        written = await store.change_note(ledger, call, note_id, patch.columns(), writes.state)
    return _send(_response(200, call, written.attachment, {EFFECT: written.effect.value}))


@_delete("/notes/{noteId}", "Delete a note", 404, 412)
async def delete_note(call: AttachableName, note_id: NoteIdPath, writes: Writes) -> Response:
    """Delete a note of a call, or one that waits for it."""
    async with writes.ledger() as ledger:
        await store.remove_note(ledger, call, note_id, writes.state)
    return Response(status_code=204)


# Sentiments, disposition, links: one attachment per slot, which has the name of a source or a CRM where a
# call can have several.


@_put("/sentiments/{source}", WrittenSentiment, ParkedSentiment, "Set the sentiment of a source")
async def put_sentiment(
    call: AttachableName, source: SourcePath, writes: Writes, sentiment: SentimentIn
) -> Response:
    """Replace the sentiment of this source and maker. Neither sources nor makers overwrite each other, so a
    machine's sentiment and a person's are both kept, and the person's counts for the call:
    `overruledBy` shows it to a machine."""
    async with writes.ledger() as ledger:
        subject = await load_subject(ledger, call)
        written = await sentiments.set_sentiment(ledger, subject, source, sentiment, writes.state)
    response = _response_to_write(call, written.result)
    if written.overruled_by is not None:
        response.body["overruledBy"] = {name: written.overruled_by[name] for name in ("source", "label")}
    return _send(response)


@_list("/sentiments", SentimentList, "List the sentiments of a call")
async def list_sentiments(call: AttachableName, reads: Reads) -> Response:
    """One sentiment per source. For a call that is not known yet, those that are parked for it."""
    return await reads.all(SENTIMENT, call)


@_get("/sentiments/{source}", SentimentOut, "Get the sentiment of a source")
async def get_sentiment(
    call: AttachableName,
    source: SourcePath,
    reads: Reads,
    made_by: MadeBy = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """What this source said of the call, with its own value in `original`.

    Without `madeBy`, the person's if there is one, otherwise the machine's.
    """
    async with reads.services.database.read() as db:
        account_id = reads.key.account_id
        found = await sentiments.load_sentiment(db, account_id, call, source, made_by)
    return _read(call, found, if_none_match)


@_delete("/sentiments/{source}", "Delete the sentiment of a source", 404, 409, 412)
async def delete_sentiment(
    call: AttachableName, source: SourcePath, writes: Writes, made_by: MadeBy = None
) -> Response:
    """Delete what this source said. The sentiments of other sources stay.

    Without `madeBy`, the maker is the one that a `PUT` without it has: a person for sources such as
    `agent:711000101`, otherwise a machine.
    """
    async with writes.ledger() as ledger:
        await sentiments.remove_sentiment(ledger, call, source, made_by, writes.state)
    return Response(status_code=204)


@_put("/disposition", DispositionOut, ParkedDisposition, "Set the disposition of a call")
async def put_disposition(call: AttachableName, writes: Writes, disposition: DispositionIn) -> Response:
    """The agent's result, next to RingCentral's `result` and our `outcome`. A call has one disposition."""
    return await writes.put(DISPOSITION, call, disposition.columns())


@_get("/disposition", DispositionOut, "Get the disposition of a call")
async def get_disposition(call: AttachableName, reads: Reads, if_none_match: IfNoneMatch = None) -> Response:
    """The agent's result of the call; 404 if there is none."""
    return await reads.one(DISPOSITION, call, if_none_match)


@_delete("/disposition", "Delete the disposition of a call", 404, 409, 412)
async def delete_disposition(call: AttachableName, writes: Writes) -> Response:
    """Delete the agent's result of the call."""
    return await writes.remove(DISPOSITION, call)


@_put("/links/{crm}", LinkOut, ParkedLink, "Set the links of a call to a CRM")
async def put_link(call: AttachableName, crm: CrmPath, writes: Writes, link: LinkIn) -> Response:
    """Record which objects of a CRM the call was written to. Replaces the earlier links to this CRM."""
    return await writes.put(LINK, call, link.columns(), crm=crm)


@_list("/links", LinkList, "List the links of a call to all CRMs")
async def list_links(call: AttachableName, reads: Reads) -> Response:
    """One item per CRM. For a call that is not known yet, those that are parked for it."""
    return await reads.all(LINK, call)


@_get("/links/{crm}", LinkOut, "Get the links of a call to a CRM")
async def get_link(
    call: AttachableName, crm: CrmPath, reads: Reads, if_none_match: IfNoneMatch = None
) -> Response:
    """The objects of this CRM that the call was written to; 404 if there are none."""
    return await reads.one(LINK, call, if_none_match, crm=crm)


@_delete("/links/{crm}", "Delete the links of a call to a CRM", 404, 409, 412)
async def delete_link(call: AttachableName, crm: CrmPath, writes: Writes) -> Response:
    """Forget which objects of this CRM the call was written to. The CRM is not changed."""
    return await writes.remove(LINK, call, crm=crm)


def _response_to_write(
    call: str, written: WriteResult, headers: Mapping[str, str] | None = None
) -> StoredResponse:
    headers = {EFFECT: written.effect.value, **(headers or {})}
    return _response(written.status, call, written.attachment, headers)


def _response(
    status: int, call: str, attachment: StoredAttachment, headers: Mapping[str, str] | None = None
) -> StoredResponse:
    return StoredResponse(status, {**(headers or {}), "ETag": attachment.etag}, _show(call, attachment))


def _read(call: str, attachment: StoredAttachment, if_none_match: str | None) -> Response:
    if is_known(if_none_match, attachment.etag):
        return Response(status_code=304, headers={"ETag": attachment.etag})
    return _send(_response(200, call, attachment))


def _send(response: StoredResponse, headers: Mapping[str, str] | None = None) -> Response:
    return JsonResponse(response.body, response.status, {**response.headers, **(headers or {})})


def _show(call: str, attachment: StoredAttachment) -> dict[str, Any]:
    body = attachment.to_json()
    if attachment.parked:
        body["detail"] = (
            f"No call is known as {call} yet. The {attachment.kind.word} is parked under this name and joins "
            "the call as soon as the call becomes known. Its URL stays the same."
        )
    return body
