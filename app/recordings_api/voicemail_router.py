"""Voicemails in the API: what is known of one, and its audio, streamed from RingCentral or from the archive.

RingCentral's token never leaves the service; readers need an API key. A voicemail of another account is not
found.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.responses import StreamingResponse

from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.problems import problem_responses
from app.api.schemas import VoicemailIdText
from app.enrichment.audio.byte_ranges import read_range
from app.recordings_api.audio_response import (
    CONTENT_RESPONSES,
    FIRST_BYTE,
    AsDownload,
    IfRangeHeader,
    RangeHeader,
    respond,
    respond_to_head,
)
from app.recordings_api.voicemail_playback import VoicemailPlayback
from app.recordings_api.voicemail_schemas import VoicemailOut, stored_json

router = APIRouter(prefix="/v1", tags=["voicemails"])


async def current_playback(request: Request) -> VoicemailPlayback:
    """Return the voicemail playback of this process."""
    playback: VoicemailPlayback = request.app.state.process.voicemails
    return playback


CurrentPlayback = Annotated[VoicemailPlayback, Depends(current_playback)]
VoicemailName = Annotated[
    VoicemailIdText, Path(description="RingCentral's id of the message.", examples=["1504832006"])
]


@router.get(
    "/voicemails/{voicemail_id}",
    response_model=VoicemailOut,
    summary="What is known of a voicemail",
    responses=problem_responses(404),
)
async def get_voicemail(key: CallsReader, playback: CurrentPlayback, voicemail_id: VoicemailName) -> Response:
    """Its state, transcript and calls, from the database. A voicemail that the service was not permitted to
    read is requested again, at most once an hour."""
    rows = await playback.describe(key.account_id, voicemail_id)
    return JsonResponse(stored_json(rows), headers={"Cache-Control": "private, no-cache"})


@router.get(
    "/voicemails/{voicemail_id}/content",
    response_class=StreamingResponse,
    summary="Listen to a voicemail",
    responses=CONTENT_RESPONSES | problem_responses(404, 416, 502),
)
async def get_voicemail_content(
    services: CurrentServices,
    key: CallsReader,
    playback: CurrentPlayback,
    voicemail_id: VoicemailName,
    download: AsDownload = False,
    byte_range: RangeHeader = None,
    if_range: IfRangeHeader = None,
) -> Response:
    """Streams the audio from the archive if it is stored there, or else from RingCentral with one request of
    the Medium limit. `Range` works in both cases. `HEAD` returns the same headers without the audio."""
    opening = playback.open(key.account_id, voicemail_id, read_range(byte_range), if_range)
    return await respond(services, key, opening, f"voicemail-{voicemail_id}", download=download)


@router.head("/voicemails/{voicemail_id}/content", include_in_schema=False)
async def head_content(
    key: CallsReader, playback: CurrentPlayback, voicemail_id: VoicemailName, download: bool = False
) -> Response:
    """Returns the headers of the whole. One byte is requested from RingCentral, which costs as much as the
    whole."""
    opening = playback.open(key.account_id, voicemail_id, FIRST_BYTE)
    return await respond_to_head(opening, f"voicemail-{voicemail_id}", download=download)
