"""Recordings in the API: what is known of one, and its audio, streamed from RingCentral or from the archive.

RingCentral's token never leaves the service; readers need an API key. A recording of another account is not
found.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.responses import StreamingResponse

from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.problems import problem_responses
from app.api.schemas import RecordingIdText
from app.enrichment.audio.byte_ranges import read_range
from app.recordings_api.audio_response import (
    CACHED,
    CONTENT_RESPONSES,
    FIRST_BYTE,
    AsDownload,
    IfRangeHeader,
    RangeHeader,
    respond,
    respond_to_head,
)
from app.recordings_api.playback import Playback
from app.recordings_api.schemas import RecordingOut, live_json, stored_json

router = APIRouter(prefix="/v1", tags=["recordings"])


async def current_playback(request: Request) -> Playback:
    """Return the playback of this process."""
    playback: Playback = request.app.state.process.playback
    return playback


CurrentPlayback = Annotated[Playback, Depends(current_playback)]
RecordingName = Annotated[
    RecordingIdText, Path(description="RingCentral's id of the recording.", examples=["3019664700"])
]


@router.get(
    "/recordings/{recording_id}",
    response_model=RecordingOut,
    summary="What is known of a recording",
    responses=problem_responses(404, 502),
)
async def get_recording(key: CallsReader, playback: CurrentPlayback, recording_id: RecordingName) -> Response:
    """Its state, length and calls. RingCentral is asked once for the type and length of a recording that is
    known only from its record, if the rate limit has a request to spare, and for a recording that no call
    names."""
    rows = await playback.describe(key.account_id, recording_id)
    if rows:
        return JsonResponse(stored_json(rows), headers={"Cache-Control": "private, no-cache"})
    found = await playback.fetch(key.account_id, recording_id, rows)
    return JsonResponse(live_json(found), headers={"Cache-Control": CACHED})


@router.get(
    "/recordings/{recording_id}/content",
    response_class=StreamingResponse,
    summary="Listen to a recording",
    responses=CONTENT_RESPONSES | problem_responses(404, 416, 502),
)
async def get_recording_content(
    services: CurrentServices,
    key: CallsReader,
    playback: CurrentPlayback,
    recording_id: RecordingName,
    download: AsDownload = False,
    byte_range: RangeHeader = None,
    if_range: IfRangeHeader = None,
) -> Response:
    """Streams the audio from the archive if it is stored there, or else from RingCentral with one request of
    the Heavy limit. `Range` works in both cases. `HEAD` returns the same headers without the audio."""
    opening = playback.open(key.account_id, recording_id, read_range(byte_range), if_range)
    return await respond(services, key, opening, f"recording-{recording_id}", download=download)


@router.head("/recordings/{recording_id}/content", include_in_schema=False)
async def head_content(
    key: CallsReader, playback: CurrentPlayback, recording_id: RecordingName, download: bool = False
) -> Response:
    """Returns the headers of the whole. One byte is requested from RingCentral, which costs as much as the
    whole."""
    opening = playback.open(key.account_id, recording_id, FIRST_BYTE)
    return await respond_to_head(opening, f"recording-{recording_id}", download=download)
