"""The write side of the connector API: notes, sentiment, disposition and CRM links of a call.

`{call}` is any name of a call, known or not: what is attached before the call exists waits for it (202) and
stays at its address. Each route opens its own transaction in plain sight; the answer leaves after the
commit.

Every answer about one thing carries an ETag: its version and a mark of its content, `"v3-9f8e7d6c5b4a"`, and
`-parked` at its end while it waits. `If-Match` is honoured where it is sent and asked for nowhere: a connector that owns a
source need not read before it writes. `"v3"` alone means the version, whatever its content.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy import Row

from app.api.auth import CallsReader, Key, NotesWriter
from app.api.dependencies import CurrentServices, JsonAnswer, Services
from app.api.etags import is_known
from app.api.problems import problem_responses
from app.calls import views
from app.calls.attachments import store as attachments
from app.calls.attachments.idempotency import (
    MAX_KEY,
    StoredResponse,
    find_answer,
    keep_answer,
    request_digest,
)
from app.calls.attachments.inputs import DispositionIn, LinkIn, NoteIn, NotePatch, SentimentIn
from app.calls.attachments.store import (
    DISPOSITION,
    LINK,
    NOTE,
    SENTIMENT,
    AttachmentKind,
    Effect,
    Precondition,
    Written,
)
from app.calls.inputs import SOURCE_PATTERN
from app.calls.schemas import NAME_PATTERN, ApiModel, DispositionOut, LinkOut, NoteOut, SentimentOut
from app.ids import MAX_OUTSIDE_ID, NoteId

_DETAIL = Field(description="Why it waits, and what will happen.")


class ParkedNote(NoteOut):
    """A note that waits for its call."""

    detail: str = _DETAIL


class ParkedSentiment(SentimentOut):
    """A sentiment that waits for its call."""

    detail: str = _DETAIL


class ParkedDisposition(DispositionOut):
    """A disposition that waits for its call."""

    detail: str = _DETAIL


class ParkedLink(LinkOut):
    """Links that wait for their call."""

    detail: str = _DETAIL


class _List(ApiModel):
    next_cursor: None = Field(None, description="There is always one page.")


class NoteList(_List):
    """All notes of a call."""

    data: list[NoteOut]


class SentimentList(_List):
    """All sentiments of a call."""

    data: list[SentimentOut]


class LinkList(_List):
    """All links of a call."""

    data: list[LinkOut]


def _etag_header(example: str) -> dict[str, Any]:
    return {"ETag": {"description": "For `If-Match`.", "schema": {"type": "string", "example": example}}}


def _writing(parked: type[ApiModel], *, location: bool = False) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route that writes."""
    more = (
        {"Location": {"description": "The note's address.", "schema": {"type": "string"}}} if location else {}
    )
    now, waiting = _etag_header('"v1-9f8e7d6c5b4a"') | more, _etag_header('"v1-9f8e7d6c5b4a-parked"') | more
    return {
        200: {"description": "It was there; this is how it is now.", "headers": now},
        201: {"description": "Attached to its call.", "headers": now},
        202: {
            "description": "Kept under the name; joins the call when it becomes known.",
            "headers": waiting,
            "model": parked,
        },
    }


_SHOWN: dict[int | str, dict[str, Any]] = {
    200: {"description": "As it is now.", "headers": _etag_header('"v1-9f8e7d6c5b4a"')},
    304: {"description": "It is still the version that you have."},
}
_CHANGED: dict[int | str, dict[str, Any]] = {
    200: {"description": "As it is now.", "headers": _etag_header('"v2-9f8e7d6c5b4a"')}
}

router = APIRouter(prefix="/v1/calls/{call}", tags=["notes and sentiment"])

_ETAG = re.compile(r'(?:W/)?"?v(\d{1,9})(?:-([0-9a-f]{12}))?(?:-parked)?"?')

CallName = Annotated[
    str,
    Path(
        max_length=MAX_OUTSIDE_ID,
        pattern=NAME_PATTERN,
        description="Any name of the call: our id, its `telephonySessionId`, its `sessionId`; not `0`, which "
        "RingCentral reports for all conferences.",
        examples=["1229016182016"],
    ),
]
NoteIdPath = Annotated[
    NoteId, Path(alias="noteId", pattern="^note_[0-9a-z]{26}$", examples=["note_01kdv6x3q8m7a2c5e9r4t1y6wz"])
]
SourcePath = Annotated[
    str,
    Path(
        max_length=64,
        pattern=SOURCE_PATTERN,
        description="Who says it; each source has one sentiment per call.",
        examples=["ringsense"],
    ),
]
CrmPath = Annotated[str, Path(max_length=64, pattern=SOURCE_PATTERN, examples=["hubspot"])]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description='The ETag that you read, `"v3-9f8e7d6c5b4a"`: change only that version, else 412. `"v3"` alone is that '
        "version, whatever its content.",
        examples=['"v3-9f8e7d6c5b4a"', '"v3"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="`*`: only if nothing is there yet; an ETag, reading: only if it is another.",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY,
        pattern="^[ -~\xa1-\xff]+$",
        description="A value of your own for this one note. Sent again with the same request, it brings the same "
        "answer and no second note.",
        examples=["5e0c0f6e-5a5f-4f0a-8d0a-0b3f1c2d9e77"],
    ),
]


async def read_precondition(
    request: Request, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
) -> Precondition:
    """Read the two headers, each of which may come in several lines. An ETag that is none of ours matches no version."""
    match, none_match = (
        [part.strip() for line in request.headers.getlist(name) for part in line.split(",")]
        for name in ("if-match", "if-none-match")
    )
    if not match or "*" in match:
        return Precondition(must_exist=bool(match), must_be_new="*" in none_match)
    bare, marked = read_etags(match)
    return Precondition(versions=bare, marked=marked, must_be_new="*" in none_match)


def read_etags(etags: Sequence[str]) -> tuple[frozenset[int], frozenset[tuple[int, str]]]:
    """Return the versions that ETags name: those without a mark, and those with one.

    Weak ones count: a proxy that compresses weakens the ETag on its way to the caller.
    """
    found = [match for match in map(_ETAG.fullmatch, etags) if match]
    bare = frozenset(int(match[1]) for match in found if match[2] is None)
    return bare, frozenset((int(match[1]), match[2]) for match in found if match[2] is not None)


State = Annotated[Precondition, Depends(read_precondition)]


# What sentiments, the disposition and links have in common: one thing in a slot of the call, which is named by its
# source or its CRM where there can be several.


@dataclass(frozen=True, slots=True)
class Reading:
    """Somebody who reads what is attached."""

    services: Services
    key: Key

    async def one(self, kind: AttachmentKind, call: str, if_none_match: str | None, **slot: str) -> Response:
        async with self.services.database.read() as db:
            row = await attachments.load_one(db, self.key.account_id, kind, call, slot)
        return _read(kind, call, row, if_none_match)

    async def all(self, kind: AttachmentKind, call: str) -> Response:
        async with self.services.database.read() as db:
            rows = await attachments.find_all(db, self.key.account_id, kind, call)
        return JsonAnswer({"data": [_draw(kind, call, row) for row in rows], "nextCursor": None})


@dataclass(frozen=True, slots=True)
class Writing:
    """Somebody who fills or empties a slot, if it is in the state that he expects."""

    services: Services
    key: Key
    state: Precondition

    async def put(self, kind: AttachmentKind, call: str, content: Mapping[str, Any], **slot: str) -> Response:
        async with (
            self.services.database.write() as db,
            attachments.open_account(db, self.key.owner, self.services.clock.now()) as ledger,
        ):
            written = await attachments.put(ledger, kind, call, slot, content, self.state)
        return _say(StoredResponse(_status(written), _headers(written.row), _draw(kind, call, written.row)))

    async def remove(self, kind: AttachmentKind, call: str, **slot: str) -> Response:
        async with (
            self.services.database.write() as db,
            attachments.open_account(db, self.key.owner, self.services.clock.now()) as ledger,
        ):
            await attachments.remove(ledger, kind, call, slot, self.state)
        return Response(status_code=204)


async def reading(services: CurrentServices, key: CallsReader) -> Reading:
    """Whoever reads."""
    return Reading(services, key)


async def writing(services: CurrentServices, key: NotesWriter, state: State) -> Writing:
    """Whoever writes."""
    return Writing(services, key, state)


Reads = Annotated[Reading, Depends(reading)]
Writes = Annotated[Writing, Depends(writing)]


# Notes


@router.post(
    "/notes",
    status_code=201,
    response_model=NoteOut,
    summary="Attach a note",
    responses=_writing(ParkedNote, location=True) | problem_responses(400, 404, 409),
)
async def add_note(
    call: CallName,
    note: NoteIn,
    key: NotesWriter,
    services: CurrentServices,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Attach a note to a call, known or not.

    A note with an `externalId` is known by `source` and `externalId`: sent again it is the same note, and its
    newest content stays (200). An `Idempotency-Key` makes any repetition safe, whatever the note says.
    """
    digest = request_digest("POST notes", call, note.columns())
    async with (
        services.database.write() as db,
        attachments.open_account(db, key.owner, services.clock.now()) as ledger,
    ):
        answer = None
        if idempotency_key is not None:
            answer = await find_answer(ledger, key.key_id, idempotency_key, digest)
        replayed = answer is not None
        if answer is None:
            answer = _written_note(call, await attachments.add_note(ledger, call, note.columns()))
            if idempotency_key is not None:
                await keep_answer(ledger, key.key_id, idempotency_key, digest, answer)
    return _say(answer, {"Idempotency-Replayed": "true"} if replayed else {})


@router.get(
    "/notes",
    response_model=NoteList,
    summary="The notes of a call, oldest first",
    responses=problem_responses(404, 409),
)
async def list_notes(call: CallName, reads: Reads) -> Response:
    """Of a call that is not known yet: the notes that wait for it."""
    return await reads.all(NOTE, call)


@router.get(
    "/notes/{noteId}",
    response_model=NoteOut,
    summary="One note",
    responses=_SHOWN | problem_responses(404),
)
async def get_note(
    call: CallName,
    note_id: NoteIdPath,
    key: CallsReader,
    services: CurrentServices,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A note keeps its address when its call comes, also when the name turns out to mean several calls."""
    async with services.database.read() as db:
        row = await attachments.load_note(db, key.account_id, call, note_id)
    return _read(NOTE, call, row, if_none_match)


@router.patch(
    "/notes/{noteId}",
    response_model=NoteOut,
    summary="Change a note",
    responses=_CHANGED | problem_responses(400, 404, 412),
)
async def change_note(
    call: CallName,
    note_id: NoteIdPath,
    patch: NotePatch,
    key: NotesWriter,
    services: CurrentServices,
    state: State,
) -> Response:
    """Change what is sent, leave the rest (RFC 7396). What changes nothing makes no new version."""
    async with (
        services.database.write() as db,
        attachments.open_account(db, key.owner, services.clock.now()) as ledger,
    ):
        written = await attachments.change_note(ledger, call, note_id, patch.columns(), state)
    return _say(StoredResponse(200, _headers(written.row), _draw(NOTE, call, written.row)))


@router.delete(
    "/notes/{noteId}",
    status_code=204,
    response_class=Response,
    summary="Delete a note",
    responses=problem_responses(404, 412),
)
async def remove_note(
    call: CallName, note_id: NoteIdPath, key: NotesWriter, services: CurrentServices, state: State
) -> Response:
    async with (
        services.database.write() as db,
        attachments.open_account(db, key.owner, services.clock.now()) as ledger,
    ):
        await attachments.remove_note(ledger, call, note_id, state)
    return Response(status_code=204)


# Sentiments, disposition, links


@router.put(
    "/sentiments/{source}",
    response_model=SentimentOut,
    summary="Say how the call went",
    responses=_writing(ParkedSentiment) | problem_responses(400, 404, 409, 412),
)
async def put_sentiment(
    call: CallName, source: SourcePath, writes: Writes, sentiment: SentimentIn
) -> Response:
    """Replace what this source said. Sources never overwrite each other: a machine's view stands beside a person's."""
    return await writes.put(SENTIMENT, call, sentiment.columns(), source=source)


@router.get(
    "/sentiments",
    response_model=SentimentList,
    summary="What every source says of the call",
    responses=problem_responses(404, 409),
)
async def list_sentiments(call: CallName, reads: Reads) -> Response:
    return await reads.all(SENTIMENT, call)


@router.get(
    "/sentiments/{source}",
    response_model=SentimentOut,
    summary="What one source says of the call",
    responses=_SHOWN | problem_responses(404, 409),
)
async def get_sentiment(
    call: CallName, source: SourcePath, reads: Reads, if_none_match: IfNoneMatch = None
) -> Response:
    return await reads.one(SENTIMENT, call, if_none_match, source=source)


@router.delete(
    "/sentiments/{source}",
    status_code=204,
    response_class=Response,
    summary="Take back what one source said",
    responses=problem_responses(404, 409, 412),
)
async def remove_sentiment(call: CallName, source: SourcePath, writes: Writes) -> Response:
    return await writes.remove(SENTIMENT, call, source=source)


@router.put(
    "/disposition",
    response_model=DispositionOut,
    summary="Say what became of the call",
    responses=_writing(ParkedDisposition) | problem_responses(400, 404, 409, 412),
)
async def put_disposition(call: CallName, writes: Writes, disposition: DispositionIn) -> Response:
    """The agent's word, beside RingCentral's `result` and our `outcome`; a call has one."""
    return await writes.put(DISPOSITION, call, disposition.columns())


@router.get(
    "/disposition",
    response_model=DispositionOut,
    summary="The call's disposition",
    responses=_SHOWN | problem_responses(404, 409),
)
async def get_disposition(call: CallName, reads: Reads, if_none_match: IfNoneMatch = None) -> Response:
    return await reads.one(DISPOSITION, call, if_none_match)


@router.delete(
    "/disposition",
    status_code=204,
    response_class=Response,
    summary="Take the disposition back",
    responses=problem_responses(404, 409, 412),
)
async def remove_disposition(call: CallName, writes: Writes) -> Response:
    return await writes.remove(DISPOSITION, call)


@router.put(
    "/links/{crm}",
    response_model=LinkOut,
    summary="Say what was written where in a CRM",
    responses=_writing(ParkedLink) | problem_responses(400, 404, 409, 412),
)
async def put_link(call: CallName, crm: CrmPath, writes: Writes, link: LinkIn) -> Response:
    """Receipts of a connector: which objects of its CRM know the call. Replaces the CRM's earlier ones."""
    return await writes.put(LINK, call, link.columns(), crm=crm)


@router.get(
    "/links",
    response_model=LinkList,
    summary="Where the call was written to, in every CRM",
    responses=problem_responses(404, 409),
)
async def list_links(call: CallName, reads: Reads) -> Response:
    return await reads.all(LINK, call)


@router.get(
    "/links/{crm}",
    response_model=LinkOut,
    summary="Where the call was written to in one CRM",
    responses=_SHOWN | problem_responses(404, 409),
)
async def get_link(call: CallName, crm: CrmPath, reads: Reads, if_none_match: IfNoneMatch = None) -> Response:
    return await reads.one(LINK, call, if_none_match, crm=crm)


@router.delete(
    "/links/{crm}",
    status_code=204,
    response_class=Response,
    summary="Take the links to one CRM back",
    responses=problem_responses(404, 409, 412),
)
async def remove_link(call: CallName, crm: CrmPath, writes: Writes) -> Response:
    return await writes.remove(LINK, call, crm=crm)


def _written_note(call: str, written: Written) -> StoredResponse:
    location = f"/v1/calls/{quote(call, safe='')}/notes/{written.row.note_id}"
    headers = {"Location": location, **_headers(written.row)}
    return StoredResponse(_status(written), headers, _draw(NOTE, call, written.row))


def _status(written: Written) -> int:
    if written.row.parked:
        return 202
    return 201 if written.effect is Effect.CREATED else 200


def _headers(row: Row[Any]) -> dict[str, str]:
    # Joining changes what is answered though not what was written, hence another ETag of the same version.
    return {"ETag": f'"v{row.version}-{attachments.mark_of(row)}{"-parked" if row.parked else ""}"'}


def _read(kind: AttachmentKind, call: str, row: Row[Any], if_none_match: str | None) -> Response:
    headers = _headers(row)
    if if_none_match is not None and is_known(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return _say(StoredResponse(200, headers, _draw(kind, call, row)))


def _say(answer: StoredResponse, more: Mapping[str, str] | None = None) -> Response:
    return JsonAnswer(answer.body, answer.status, {**answer.headers, **(more or {})})


_DRAWN: dict[str, Callable[[Row[Any]], dict[str, Any]]] = {
    NOTE.word: views.note_json,
    SENTIMENT.word: views.sentiment_json,
    DISPOSITION.word: views.disposition_json,
    LINK.word: views.link_json,
}


def _draw(kind: AttachmentKind, call: str, row: Row[Any]) -> dict[str, Any]:
    body = _DRAWN[kind.word](row)
    if row.parked:
        body["detail"] = (
            f"No call goes by {call} yet. The {kind.word} waits under this name and joins the call as soon as "
            "we hear of it; its address stays the same."
        )
    return body
