"""The routes of links at which a person or a CRM can open a recording or a voicemail."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import ConfigDict, Field

from app.api.auth import CallsReader, NotesWriter
from app.api.dependencies import CurrentServices, JsonResponse, Services
from app.api.problems import problem_responses
from app.api.schemas import ApiInput, ApiModel, Instant, Page, Whole
from app.audit.trail import AuditAction, Trail, audited
from app.calls.media.audio_links import (
    AUDIO,
    AudioLink,
    LinkSigner,
    MediaKind,
    add_link,
    load_links,
    revoke_link,
)
from app.errors import NotFound, Unprocessable
from app.ids import AccountId
from app.recordings_api.router import RecordingName
from app.recordings_api.voicemail_router import VoicemailName
from app.values.times import time_text
from app.vault import Vault

router = APIRouter(prefix="/v1", tags=["listening links"])

_DAY = 86_400
_DEFAULT_SECONDS = 30 * _DAY
_LONGEST_SECONDS = 366 * _DAY
_LINK_ID = "listen_01jp0v7s4v8x2m6c9q3t5r7w1e"
_URL = f"https://calls.northwind-tea.example/listen/{_LINK_ID}/Zk3yq1b0Hq3eX5vT9mWc7uJd"


class AudioLinkIn(ApiInput):
    """How long the link is to work."""

    model_config = ConfigDict(json_schema_extra={"example": {"expiresInSeconds": 604_800}})

    expires_in_seconds: Annotated[int, Whole(60, _LONGEST_SECONDS)] = Field(
        _DEFAULT_SECONDS, description="From now on. Default: 30 days."
    )


class AudioLinkOut(ApiModel):
    """A link to a recording or a voicemail."""

    id: str = Field(examples=[_LINK_ID])
    url: str = Field(description="A page with a player, for people.", examples=[_URL])
    audio_url: str = Field(
        description="The audio itself, with byte ranges, for players and CRMs.", examples=[f"{_URL}/audio"]
    )
    state: str = Field(description="open, expired or revoked.", examples=["open"])
    created_at: Instant
    created_by: str = Field(description="The API key that made it.")
    expires_at: Instant
    revoked_at: Instant | None
    uses: int = Field(description="How often somebody began to listen.")
    last_used_at: Instant | None


class AudioLinkList(Page[AudioLinkOut]):
    """The links to one recording or voicemail, the newest first, on one page."""


LinkName = Annotated[str, Path(pattern=r"^listen_[0-9a-z]{26}$", examples=[_LINK_ID])]
_Adding = Annotated[Trail, audited(AuditAction.LINK_CREATED)]
_Revoking = Annotated[Trail, audited(AuditAction.LINK_REVOKED)]
_MADE: dict[int | str, dict[str, Any]] = {201: {"description": "The link was made."}}


@router.post(
    "/recordings/{recording_id}/links",
    response_model=AudioLinkOut,
    status_code=201,
    summary="Make a link to a recording",
    responses=_MADE | problem_responses(404),
)
async def add_recording_link(
    services: CurrentServices,
    trail: _Adding,
    key: CallsReader,
    writer: NotesWriter,
    recording_id: RecordingName,
    body: AudioLinkIn,
) -> Response:
    """An address that opens this recording without an API key until it expires or is revoked. Takes the
    scopes calls:read and notes:write."""
    media = MediaKind.RECORDING, recording_id
    return await _add(services, key.account_id, writer.key_id, media, body, trail)


@router.post(
    "/voicemails/{voicemail_id}/links",
    response_model=AudioLinkOut,
    status_code=201,
    summary="Make a link to a voicemail",
    responses=_MADE | problem_responses(404),
)
async def add_voicemail_link(
    services: CurrentServices,
    trail: _Adding,
    key: CallsReader,
    writer: NotesWriter,
    voicemail_id: VoicemailName,
    body: AudioLinkIn,
) -> Response:
    """As for a recording."""
    media = MediaKind.VOICEMAIL, voicemail_id
    return await _add(services, key.account_id, writer.key_id, media, body, trail)


@router.get(
    "/recordings/{recording_id}/links",
    response_model=AudioLinkList,
    summary="List the links to a recording",
    responses=problem_responses(),
)
async def get_recording_links(
    services: CurrentServices, key: CallsReader, recording_id: RecordingName
) -> Response:
    """All of them, also those that are expired or revoked, with their uses."""
    return await _list(services, key.account_id, MediaKind.RECORDING, recording_id)


@router.get(
    "/voicemails/{voicemail_id}/links",
    response_model=AudioLinkList,
    summary="List the links to a voicemail",
    responses=problem_responses(),
)
async def get_voicemail_links(
    services: CurrentServices, key: CallsReader, voicemail_id: VoicemailName
) -> Response:
    """As for a recording."""
    return await _list(services, key.account_id, MediaKind.VOICEMAIL, voicemail_id)


@router.delete(
    "/recordings/{recording_id}/links/{link}",
    status_code=204,
    summary="Revoke a link to a recording",
    responses=problem_responses(404),
)
async def revoke_recording_link(
    services: CurrentServices,
    trail: _Revoking,
    key: CallsReader,
    _: NotesWriter,
    recording_id: RecordingName,
    link: LinkName,
) -> Response:
    """It opens nothing from now on."""
    return await _revoke(services, key.account_id, (MediaKind.RECORDING, recording_id), link, trail)


@router.delete(
    "/voicemails/{voicemail_id}/links/{link}",
    status_code=204,
    summary="Revoke a link to a voicemail",
    responses=problem_responses(404),
)
async def revoke_voicemail_link(
    services: CurrentServices,
    trail: _Revoking,
    key: CallsReader,
    _: NotesWriter,
    voicemail_id: VoicemailName,
    link: LinkName,
) -> Response:
    """As for a recording."""
    return await _revoke(services, key.account_id, (MediaKind.VOICEMAIL, voicemail_id), link, trail)


async def _add(
    services: Services,
    account_id: AccountId,
    made_by: str,
    media: tuple[MediaKind, str],
    body: AudioLinkIn,
    trail: Trail,
) -> Response:
    base = _base(services)
    now = services.clock.now()
    times = (now, now + timedelta(seconds=body.expires_in_seconds))
    async with services.database.write() as db:
        link = await add_link(db, account_id, media, made_by, times)
        await trail.record(
            db, now, account_id, link.link_id, kind=link.kind.value, callId=link.call_id,
            expiresAt=time_text(link.expires_at),
        )  # fmt: skip
    return JsonResponse(_show(services, base, link), 201, headers={"Cache-Control": "private, no-store"})


async def _list(services: Services, account_id: AccountId, kind: MediaKind, media_id: str) -> Response:
    base = _base(services)
    async with services.database.read() as db:
        found = await load_links(db, account_id, kind, media_id)
    shown = {"data": [_show(services, base, link) for link in found], "nextCursor": None}
    return JsonResponse(shown, headers={"Cache-Control": "private, no-store"})


async def _revoke(
    services: Services, account_id: AccountId, media: tuple[MediaKind, str], link_id: str, trail: Trail
) -> Response:
    now = services.clock.now()
    async with services.database.write() as db:
        found = [one for one in await load_links(db, account_id, *media) if one.link_id == link_id]
        if not found:
            raise NotFound(f"This {media[0]} has no link {link_id}")
        await revoke_link(db, found[0], now)
        await trail.record(db, now, account_id, link_id, changed=found[0].revoked_at is None)
    return Response(status_code=204)


def _base(services: Services) -> str:
    """Return the public address of this service. Raises Unprocessable without one."""
    if services.settings.public_url is None:
        raise Unprocessable(
            "This service has no public address to make links with: the operator has to set "
            "AFTERCALL_PUBLIC_URL"
        )
    return services.settings.public_url


def _show(services: Services, base: str, link: AudioLink) -> dict[str, Any]:
    path = LinkSigner(Vault(services.settings.secrets()[0])).path_of(link)
    is_over = services.clock.now() >= link.expires_at
    return {
        "id": link.link_id,
        "url": f"{base}{path}",
        "audioUrl": f"{base}{path}{AUDIO}",
        "state": "revoked" if link.revoked_at else "expired" if is_over else "open",
        "createdAt": time_text(link.created_at),
        "createdBy": link.key_id,
        "expiresAt": time_text(link.expires_at),
        "revokedAt": time_text(link.revoked_at),
        "uses": link.uses,
        "lastUsedAt": time_text(link.last_used_at),
    }
